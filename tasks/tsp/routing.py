from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from ortools.constraint_solver import pywrapcp, routing_enums_pb2
from ortools.util import optional_boolean_pb2

Search = Literal["none", "descent", "guided"]
"""How a construction is improved: not at all, by the default local search until nothing helps, or guided from there."""


def route(distances: NDArray[np.int64], search: Search) -> NDArray[np.int64]:
    """Return a closed tour of OR-Tools' routing solver: Christofides' construction, improved or as it is.

    No time limit and no randomness: equal distances give equal tours. Guided local search ends after one solution for
    every two nodes, which takes it about 0.3 s at 100 nodes and 3 s at 200.

    Args:
        distances: Symmetric whole-number distances, shape (nodes, nodes).
        search: How the construction is improved.

    Returns:
        The tour, shape (nodes,), starting at node 0.

    Raises:
        ValueError: If the solver returns no tour.
    """
    indices = pywrapcp.RoutingIndexManager(len(distances), 1, 0)
    model = pywrapcp.RoutingModel(indices)
    model.SetArcCostEvaluatorOfAllVehicles(model.RegisterTransitMatrix(distances.tolist()))
    parameters = pywrapcp.DefaultRoutingSearchParameters()
    parameters.first_solution_strategy = routing_enums_pb2.FirstSolutionStrategy.CHRISTOFIDES
    if search == "guided":
        parameters.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GUIDED_LOCAL_SEARCH
        parameters.solution_limit = max(1, len(distances) // 2)
    if search == "none":
        operators = parameters.local_search_operators
        for operator in operators.DESCRIPTOR.fields:
            setattr(operators, operator.name, optional_boolean_pb2.BOOL_FALSE)
    solution = model.SolveWithParameters(parameters)
    if solution is None:
        raise ValueError(f"OR-Tools returned no tour of {len(distances)} nodes, status {model.status()}")
    tour, index = [], model.Start(0)
    while not model.IsEnd(index):
        tour.append(indices.IndexToNode(index))
        index = solution.Value(model.NextVar(index))
    return np.array(tour, dtype=np.int64)
