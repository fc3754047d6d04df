"""How fast sequences of 1,024 tokens are read, against the formats that others read: one table.

    OMP_NUM_THREADS=1 taskset -c 1 python -m benchmarks.reading --tokens 200

Every format holds the same tokens, is read in a process of its own, and takes its turn in every round, from a warm page
cache. `litdata` and `mosaicml-streaming` take part when they can be imported.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

LENGTH = 1024
BATCH = 256
STEP_TOKENS = 20
EPISODE_STEPS = 200
_TASK = "bench/control"
_FORMATS = {
    "memmap": "np.memmap, rows gathered by a permutation",
    "memmap-rows": "np.memmap, a row a time (a Dataset)",
    "none": "shards, not compressed: windows",
    "blosc": "shards, Blosc: windows",
    "none-batches": "shards, not compressed: training batches",
    "blosc-batches": "shards, Blosc: training batches",
    "litdata": "litdata",
    "mds": "MosaicML streaming (MDS)",
    "webdataset": "WebDataset, a sequence a member",
}
_INSTALL = "not installed: pip install litdata mosaicml-streaming webdataset"

Reader = tuple[Callable[[], Iterator[Any]], Callable[[int], Any], int]
"""Batches of an epoch, a sequence by its position, and the number of sequences."""


def make_tokens(millions: int) -> NDArray[np.uint16]:
    """Make the tokens of a control task: smooth observations in bins, a separator and an action at each step."""
    random, steps = np.random.default_rng(0), millions * 1_000_000 // STEP_TOKENS
    rows = np.empty((steps, STEP_TOKENS), np.uint16)
    for column in range(STEP_TOKENS - 2):
        rows[:, column] = 32_512 + 500 * np.sin(np.cumsum(random.normal(0, 3, steps)) / 50)
    rows[:, -2], rows[:, -1] = 33_024, random.integers(0, 7, steps)
    return rows


def write(name: str, rows: NDArray[np.uint16], folder: Path) -> None:
    """Write the tokens in a format."""
    sequences = rows.reshape(-1)[: rows.size // LENGTH * LENGTH].reshape(-1, LENGTH)
    if name == "memmap":
        rows.tofile(folder / "tokens.bin")
    elif name in ("none", "blosc"):
        _write_shards(rows, folder, "none" if name == "none" else "blosc-zstd")
    elif name == "litdata":
        from litdata.streaming.writer import BinaryWriter  # pyright: ignore[reportMissingImports]

        writer = BinaryWriter(cache_dir=str(folder), chunk_bytes="64MB")
        for number, sequence in enumerate(sequences):
            writer.add_item(number, {"tokens": sequence})
        writer.done()
        writer.merge()
    elif name == "mds":
        from streaming import MDSWriter  # pyright: ignore[reportMissingImports]

        with MDSWriter(out=str(folder), columns={"tokens": f"ndarray:uint16:{LENGTH}"}) as out:
            for sequence in sequences:
                out.write({"tokens": sequence})
    elif name == "webdataset":
        import webdataset

        writer: Any = webdataset
        with writer.ShardWriter(f"{folder}/%06d.tar", maxsize=64_000_000, verbose=0) as out:
            for number, sequence in enumerate(sequences):
                out.write({"__key__": f"{number:08d}", "bin": sequence.tobytes()})


def open_format(name: str, folder: Path) -> Reader:
    """Open what ``write`` wrote."""
    if name in ("memmap", "memmap-rows"):
        return _open_memmap(folder / "tokens.bin", by_rows=name == "memmap-rows")
    if name in ("none", "blosc"):
        return _open_windows(folder)
    if name in ("none-batches", "blosc-batches"):
        return _open_batches(folder)
    if name == "litdata":
        return _open_litdata(folder)
    return _open_mds(folder) if name == "mds" else _open_webdataset(folder)


def _write_shards(rows: NDArray[np.uint16], folder: Path, compression: Any) -> None:
    from db1_model.layout import NumberRun, StepLayout
    from storage.shards import ShardStore
    from storage.tokens import TokenEpisode, TokenStore

    run = NumberRun("state", (STEP_TOKENS - 2,), "mu_law")
    layout = StepLayout((), None, (run,), "discrete", 1, 7, "bench")
    parts = (rows[first : first + EPISODE_STEPS] for first in range(0, len(rows), EPISODE_STEPS))
    tokens, episodes = TokenStore(f"{folder}/tokens"), (TokenEpisode(part, None, 0, 0.0) for part in parts)
    tokens.write(_TASK, layout.to_json(), episodes, recipe={}, metadata={})
    store = ShardStore(f"{folder}/shards")
    store.write(_TASK, tokens.read(_TASK), recipe={}, seed=0, compression=compression)
    store.write_index("bench", [_TASK], recipe={}, metadata={})
    shutil.rmtree(folder / "tokens")


def _open_memmap(path: Path, *, by_rows: bool) -> Reader:
    flat = np.memmap(path, np.uint16, "r")
    rows = np.lib.stride_tricks.sliding_window_view(flat, LENGTH + 1)[::LENGTH]

    def read(order: NDArray[np.int64]) -> NDArray[np.uint16]:
        if not by_rows:
            return rows[order]
        return np.stack([flat[row * LENGTH : row * LENGTH + LENGTH + 1] for row in order.tolist()])

    def stream() -> Iterator[NDArray[np.uint16]]:
        order = np.random.default_rng(0).permutation(len(rows))
        yield from (read(order[first : first + BATCH]) for first in range(0, len(order), BATCH))

    return stream, lambda row: read(np.array([row])), len(rows)


def _open_windows(folder: Path) -> Reader:
    from db1_model.config import ModelConfig
    from db1_model.layout import StepLayout
    from db1_model.positions import StepPositions
    from db1_model.windows import Windows, draw_visits, read_window, stack_orders
    from storage.shards import ShardStore

    task = ShardStore(f"{folder}/shards").read("bench")[_TASK]
    places = StepPositions(StepLayout.from_json(task.layout), ModelConfig(1, 32, 2, LENGTH, LENGTH, 32_000))
    windows = Windows(task, places, prompt_share=0.0, pack=True, key=0)
    orders = stack_orders([windows])

    def read(visits: NDArray[np.int64]) -> NDArray[np.uint16]:
        batch = np.empty((len(visits), LENGTH + 1), np.uint16)
        for row, draw in enumerate(draw_visits(orders, np.zeros(len(visits), np.int64), visits)):
            steps, _ = read_window(windows.cut(*draw), task)
            batch[row] = steps.reshape(-1)[: LENGTH + 1]
        return batch

    def stream() -> Iterator[NDArray[np.uint16]]:
        visits = np.arange(windows.windows_per_epoch)
        yield from (read(visits[first : first + BATCH]) for first in range(0, len(visits), BATCH))

    return stream, lambda position: read(np.array([position])), windows.windows_per_epoch


def _open_batches(folder: Path) -> Reader:
    from db1_model.batches import WindowDataset, make_loader
    from db1_model.config import ModelConfig, TrainingConfig
    from db1_model.schedule import Schedule
    from storage.shards import ShardStore

    index = ShardStore(f"{folder}/shards").read("bench")
    config = ModelConfig(1, 32, 2, LENGTH, LENGTH, 32_000)
    size = index[_TASK].num_transitions * STEP_TOKENS // LENGTH
    training = TrainingConfig(steps=size // BATCH, batch_windows=BATCH)
    dataset = WindowDataset(Schedule(index, config, training), size)
    return lambda: iter(make_loader(index, config, training)), lambda position: dataset[position], size


def _open_litdata(folder: Path) -> Reader:
    from litdata import StreamingDataLoader, StreamingDataset  # pyright: ignore[reportMissingImports]

    dataset = StreamingDataset(str(folder), shuffle=True, seed=0)
    loader = StreamingDataLoader(dataset, batch_size=BATCH, num_workers=0)
    return lambda: iter(loader), lambda row: dataset[row], len(dataset)


def _open_mds(folder: Path) -> Reader:
    from streaming import StreamingDataset  # pyright: ignore[reportMissingImports]
    from torch.utils.data import DataLoader

    dataset: Any = StreamingDataset(local=str(folder), shuffle=True, shuffle_seed=0, batch_size=BATCH)
    return lambda: iter(DataLoader(dataset, batch_size=BATCH)), lambda row: dataset[row], dataset.size


def _open_webdataset(folder: Path) -> Reader:
    import webdataset

    def stream() -> Iterator[NDArray[np.uint16]]:
        shards = sorted(str(path) for path in folder.glob("*.tar"))
        batch: list[NDArray[np.uint16]] = []
        reader: Any = webdataset
        for sample in reader.WebDataset(shards, shardshuffle=len(shards), seed=0).shuffle(4096):
            batch.append(np.frombuffer(sample["bin"], np.uint16))
            if len(batch) == BATCH:
                yield np.stack(batch)
                batch = []

    return stream, lambda row: None, 0


def serve(name: str, folder: Path) -> None:
    """Open a format, say so, and read an epoch, or positions at random, for each line of standard input."""
    begun = time.perf_counter()
    try:
        stream, access, size = open_format(name, folder)
        next(iter(stream()))
    except ImportError:
        print(json.dumps({"error": _INSTALL}), flush=True)
        return
    print(json.dumps({"start_s": time.perf_counter() - begun}), flush=True)
    random = np.random.default_rng(0)
    for line in sys.stdin:
        count = int(line)
        positions = random.integers(0, size, count).tolist() if size else []
        begun, tokens = time.process_time(), 0
        if count:
            for position in positions:
                access(position)
        else:
            for batch in stream():
                tokens += len(batch["tokens"] if isinstance(batch, dict) else batch) * LENGTH
        seconds = time.process_time() - begun
        peak = _peak_mb()
        print(json.dumps({"s": seconds, "tokens": tokens, "positions": len(positions), "peak_mb": peak}), flush=True)


def _peak_mb() -> float:
    """Return the most memory that was resident since this program was started; getrusage counts its parent's too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(folder: Path, rounds: int, count: int) -> dict[str, dict[str, Any]]:
    """Return what each format took, all of them in turn in each round."""
    found: dict[str, dict[str, Any]] = {}
    readers: dict[str, subprocess.Popen[str]] = {}
    for name in _FORMATS:
        data = folder / name.removesuffix("-rows").removesuffix("-batches")
        command = [sys.executable, "-m", "benchmarks.reading", "--serve", name, "--folder", str(data)]
        readers[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        first = _answer(readers[name])
        found[name] = {"error": "stopped"} if first is None else {**first, "stream": [], "access": []}
    for turn in range(rounds + 1):
        for name, reader in readers.items():
            if "error" in found[name]:
                continue
            for kind, line in (("stream", 0), ("access", count)):
                answer = _answer(reader, line)
                if answer is None:
                    found[name] = {"error": f"stopped in round {turn}"}
                    break
                found[name]["peak_mb"] = answer["peak_mb"]
                done = answer["tokens"] if kind == "stream" else answer["positions"]
                if turn and done:
                    found[name][kind].append(done / answer["s"])
    for reader in readers.values():
        reader.communicate()
    return found


def _answer(reader: subprocess.Popen[str], line: int | None = None) -> dict[str, Any] | None:
    if reader.stdin is None or reader.stdout is None:
        return None
    if line is not None:
        try:
            reader.stdin.write(f"{line}\n")
            reader.stdin.flush()
        except BrokenPipeError:
            return None
    answer = reader.stdout.readline()
    return json.loads(answer) if answer else None


def main() -> None:
    """Write every format, read them in turn, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200, help="million tokens")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; the median counts")
    parser.add_argument("--access", type=int, default=2000, help="random positions a round")
    parser.add_argument("--folder", type=Path, help="where the formats are written; a temporary folder by default")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.folder)
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder, rows = Path(temporary), make_tokens(arguments.tokens)
        for name in ("memmap", "none", "blosc", "litdata", "mds", "webdataset"):
            (folder / name).mkdir()
            try:
                write(name, rows, folder / name)
            except ImportError:
                shutil.rmtree(folder / name)
        found = measure(folder, arguments.rounds, arguments.access)
    rates = {name: median(row["stream"]) for name, row in found.items() if row.get("stream")}
    print(f"{'':44}{'M tokens':>10}{'ratio to memmap':>18}{'random':>14}{'start':>8}{'peak':>8}")
    print(f"{'':44}{'/CPU-s':>10}{'gather':>9}{'rows':>9}{'windows/CPU-s':>14}{'s':>8}{'MB':>8}")
    for name, title in _FORMATS.items():
        row = found[name]
        if name not in rates:
            print(f"{title:44}{row['error']}")
            continue
        ratios = "".join(f"{rates[name] / rates[one]:9.2f}" for one in ("memmap", "memmap-rows"))
        access = f"{median(row['access']):14,.0f}" if row["access"] else f"{'-':>14}"
        print(f"{title:44}{rates[name] / 1e6:10.1f}{ratios}{access}{row['start_s']:8.2f}{row['peak_mb']:8.0f}")


if __name__ == "__main__":
    main()
