from __future__ import annotations

STYLE = """
:root{color-scheme:light;--ink:#1c2430;--muted:#5b6573;--line:#e3e7ec;--wash:#f6f7f9}
*{box-sizing:border-box}
body{margin:0;color:var(--ink);background:#fff;
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:64rem;margin:0 auto;padding:2.5rem 1.5rem 4rem}
.kicker{margin:0;color:var(--muted);font-size:.95rem}
h1{margin:.3rem 0 .6rem;font-size:2.1rem;line-height:1.2;font-weight:650;letter-spacing:-.01em;text-wrap:balance}
h1 .share{color:#0072b2;white-space:nowrap}
h2{margin:0 0 .8rem;font-size:1.35rem;font-weight:650}
.lede{max-width:50rem;margin:0 0 1.4rem;color:var(--muted);font-size:1.05rem}
dl{margin:0}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(7.5rem,1fr));gap:1px;
background:var(--line);border:1px solid var(--line)}
.facts div{padding:.6rem .8rem;background:#fff}
dt{color:var(--muted);font-size:.85rem}
dd{margin:0;font-weight:600;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1.3rem;margin:1.4rem 0 0;font-size:.95rem}
a{color:#0072b2}
section{margin-top:2.8rem;padding-top:1.6rem;border-top:1px solid var(--line)}
.note{max-width:50rem;margin:0 0 1rem;color:var(--muted);font-size:.95rem}
.scroll{overflow-x:auto}
table{width:100%;border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th{padding:0;border-bottom:2px solid var(--ink);text-align:left;vertical-align:bottom}
th button{width:100%;padding:.4rem .7rem .4rem .3rem;border:0;background:none;
color:inherit;font:inherit;font-weight:600;text-align:inherit;cursor:pointer}
th[aria-sort=ascending] button::after{content:" ↑"}
th[aria-sort=descending] button::after{content:" ↓"}
td{padding:.38rem .7rem .38rem .3rem;border-bottom:1px solid var(--line);white-space:nowrap}
td.number,th.number{text-align:right}
td.number{padding-right:.9rem}
th.number button{padding-right:.9rem}
td.strong{font-weight:650}
td.sentence{white-space:normal;min-width:16rem}
small{color:var(--muted);font-size:.88em}
tbody tr:hover{background:var(--wash)}
.dot{display:inline-block;width:.6rem;height:.6rem;margin-right:.55rem;border-radius:50%}
.score{min-width:11rem}
.score>span:last-child{display:inline-block;min-width:3.4rem;text-align:right}
.score .undefined{color:var(--muted);font-style:italic}
.track{position:relative;display:inline-block;width:7rem;height:.6rem;margin-right:.5rem;background:var(--line);vertical-align:baseline}
.track span{display:block;height:100%}
.track::after{content:"";position:absolute;left:50%;top:-.15rem;width:1.5px;height:.9rem;background:var(--ink)}
.wanted{width:10rem}
.wanted::after{display:none}
.track i{position:absolute;top:-.15rem;width:1.5px;height:.9rem;margin-left:-1px;background:var(--ink)}
.scroll+.scroll{margin-top:1.6rem}
figure{margin:1.6rem 0 0}
img{display:block;width:100%;max-width:52rem;height:auto}
.wide img{max-width:none}
figcaption{max-width:50rem;margin-top:.5rem;color:var(--muted);font-size:.92rem}
code{font:.9em ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.lineage{display:grid;grid-template-columns:1fr;gap:.25rem;margin-bottom:1.4rem;font-size:.92rem}
.lineage div{display:grid;grid-template-columns:11rem 1fr;gap:1rem}
.lineage dd{font:400 .9em ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--line);color:var(--muted);font-size:.88rem}
@media print{nav{display:none}section{break-inside:avoid-page}}
"""
"""How the report's page looks; it loads nothing from elsewhere."""

LANGUAGE_STYLE = """
.scroll+.note{margin-top:1.6rem}
h3{margin:2rem 0 .8rem;font-size:1.05rem;font-weight:650}
.missing{max-width:50rem;margin:0 0 1rem;padding:.5rem .8rem;
border-left:3px solid #e69f00;background:var(--wash);font-size:.95rem}
.samples,.talks{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1rem;margin-top:1.6rem}
.sample,.card{margin:0;padding:.9rem 1rem;border:1px solid var(--line);break-inside:avoid}
.sample{display:flex;flex-direction:column}
blockquote{flex:1;margin:0;font:1rem/1.55 Georgia,"DejaVu Serif",serif;white-space:pre-wrap;overflow-wrap:anywhere}
.muted{color:var(--muted)}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(13.5rem,1fr));gap:1rem}
.card{padding:0}
.card img{width:100%;image-rendering:pixelated}
.card figcaption{margin:0;padding:.7rem .9rem .8rem}
.card p,.talk p{margin:0}
.card .answer small{display:block}
.question{color:var(--muted)}
.answer{color:var(--ink);overflow-wrap:anywhere}
.answer small{font-weight:650}
.right small{color:#00795a}
.wrong small{color:#b34a00}
.wrong span{text-decoration:underline wavy #d55e00 1px;text-underline-offset:.2em}
.expected{color:var(--muted);font-size:.9rem}
.talk{padding:1rem;border:1px solid var(--line)}
.talk .question{width:fit-content;max-width:85%;
padding:.35rem .7rem;border-radius:.8rem .8rem .8rem 0;background:var(--wash)}
.talk .answer,.talk .expected{width:fit-content;margin-left:auto;text-align:right}
.talk .answer{margin-top:.4rem;padding:.35rem .7rem;border-radius:.8rem .8rem 0;background:#e8f1f8}
.talk .question:not(:first-child){margin-top:.9rem}
"""
"""What the sections about language add to it."""

SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.firstChild.onclick = () => {
      const up = head.getAttribute("aria-sort") === "descending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const compare = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", {numeric: true}) : a - b;
      const rows = [...body.rows].sort((a, b) => compare(key(a), key(b)) * (up ? 1 : -1));
      body.append(...rows);
    };
  });
}
"""
"""Sorts a table of the report's page by the column whose heading is clicked."""
