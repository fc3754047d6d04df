from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import gymnasium
import numpy as np
from ortools.constraint_solver import pywrapcp, routing_enums_pb2

from tasks.task import Action, Observation, unwrap
from tasks.vehicle_routing.environment import RoutingEnvironment
from tasks.vehicle_routing.problem import Instance

_NUM_SOLUTIONS = 400


def find_routes(instance: Instance) -> list[list[int]]:
    """Find short routes by guided local search.

    Args:
        instance: The customers; a count of solutions limits the search, so equal instances have equal routes.

    Returns:
        Customers route by route.

    Raises:
        RuntimeError: If the solver finds no routes.
    """
    nodes = instance.num_nodes
    manager = pywrapcp.RoutingIndexManager(nodes, nodes - 1, 0)
    routing = pywrapcp.RoutingModel(manager)
    way = routing.RegisterTransitMatrix(instance.distances.tolist())
    routing.SetArcCostEvaluatorOfAllVehicles(way)
    demand = routing.RegisterUnaryTransitVector(instance.demands.tolist())
    routing.AddDimension(demand, 0, instance.capacity, True, "load")
    parameters = pywrapcp.DefaultRoutingSearchParameters()
    parameters.first_solution_strategy = routing_enums_pb2.FirstSolutionStrategy.SAVINGS
    parameters.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GUIDED_LOCAL_SEARCH
    parameters.solution_limit = _NUM_SOLUTIONS
    solution = routing.SolveWithParameters(parameters)
    if solution is None:
        raise RuntimeError(f"OR-Tools' routing found no routes for {nodes - 1} customers; expected some")
    routes = []
    for vehicle in range(nodes - 1):
        index, route = solution.Value(routing.NextVar(routing.Start(vehicle))), []
        while not routing.IsEnd(index):
            route.append(manager.IndexToNode(index))
            index = solution.Value(routing.NextVar(index))
        routes += [route] if route else []
    return routes


def save_ways(instance: Instance) -> list[list[int]]:
    """Join routes end to end, where that saves most, as long as a vehicle holds the demand.

    Source:
        Clarke and Wright, "Scheduling of vehicles from a central depot to a number of delivery points", 1964.
    """
    routes = {node: [node] for node in range(1, instance.num_nodes)}
    route_of = {node: node for node in routes}
    to_depot = instance.distances[0]
    savings = to_depot[:, None] + to_depot[None] - instance.distances
    pairs = [(one, other) for one in routes for other in routes if one < other]
    for one, other in sorted(pairs, key=lambda pair: (-savings[pair], pair)):
        first, second = routes[route_of[one]], routes[route_of[other]]
        if first is second or one not in (first[0], first[-1]) or other not in (second[0], second[-1]):
            continue
        if instance.demands[first + second].sum() > instance.capacity:
            continue
        name, gone = route_of[one], route_of[other]
        joined = (first if first[-1] == one else first[::-1]) + (second if second[0] == other else second[::-1])
        routes[name] = joined
        del routes[gone]
        route_of |= dict.fromkeys(joined, name)
    return list(routes.values())


class PlannedExpert:
    """Drives routes that are planned before the first step: the one that begins or ends nearest to the depot first.

    Args:
        route: ``solver`` or ``savings``.

    Raises:
        ValueError: If the route is neither.
    """

    def __init__(self, route: str) -> None:
        if route not in ("solver", "savings"):
            raise ValueError(f"unknown plan {route!r}; expected solver or savings")
        self._plan = route

    def reset(self, environment: gymnasium.Env) -> None:
        """Plan an episode's routes.

        Raises:
            ValueError: If the environment is not one of this family.
        """
        self._environment = unwrap(environment, RoutingEnvironment)
        instance = self._environment.instance
        routes = find_routes(instance) if self._plan == "solver" else save_ways(instance)
        self._planned = instance.length(routes)
        to_depot = instance.distances[0]
        turned = [route if to_depot[route[0]] <= to_depot[route[-1]] else route[::-1] for route in routes]
        turned.sort(key=lambda route: (int(to_depot[route[0]]), route[0]))
        stops = [stop for route in turned for stop in (*route, 0)]
        self._stops = iter(stops)

    def act(self, observation: Observation) -> Action:
        """Return the rank of the next stop."""
        stop = next(self._stops)
        return 0 if stop == 0 else 1 + int(np.flatnonzero(self._environment.ranked == stop)[0])

    def provenance(self) -> Mapping[str, Any]:
        """Return the solver, its version and the length of its routes."""
        if self._plan == "savings":
            return {"solver": "savings", "planned_length": self._planned}
        solver = f"OR-Tools routing, guided local search, {_NUM_SOLUTIONS} solutions"
        return {"solver": solver, "versions": {"ortools": version("ortools")}, "planned_length": self._planned}


class NearestExpert:
    """Goes to the nearest customer whose demand the vehicle holds, and back when there is none."""

    def reset(self, environment: gymnasium.Env) -> None:
        """Begin an episode."""
        self._environment = unwrap(environment, RoutingEnvironment)

    def act(self, observation: Observation) -> Action:
        """Return the first rank, or the depot."""
        return 1 if len(self._environment.ranked) else 0

    def provenance(self) -> Mapping[str, Any]:
        """Name the rule."""
        return {"solver": "nearest customer"}
