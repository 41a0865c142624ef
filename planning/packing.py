"""Packing pods onto nodes: best fit first, and where that leaves a pod over, a search for any way that leaves none.

No solver: the sizes that occur (tens of servers that compete, nodes of 1 to 16 GPUs, many of them alike) are searched
in milliseconds once nodes that are alike are tried once, and a solver would be the program's largest dependency.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_MOST_STEPS = 20_000
"""Servers put somewhere by one search: a fifth of a second. Beyond it nothing is said to be impossible."""

_MOST_NODES = 64
"""Nodes of one pool over which replicas are spread in every way; over more of them in the best-fitting way alone."""

WHOLE = 1 + 1e-9
"""A GPU, and what rounding makes of three thirds of it."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """What one node has for pods."""

    slots: int
    """GPUs, or slices of them, that pods may ask for."""

    slices: int
    """Pods that may share one GPU."""

    kind: Hashable
    """The replicas of a server are on nodes of one kind."""

    twin: Hashable
    """Equal for nodes that make no difference to any server while they are empty."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What one server needs."""

    name: str
    replicas: int
    gpus: int
    """Of one replica."""

    share: float | None
    """Part of a shared GPU's memory that one replica takes; None for one slice's part."""

    nodes: tuple[str, ...]
    """Nodes that it may run on."""

    together: bool
    """Whether all replicas must be on one node."""

    ranks: Mapping[str, int] = field(default_factory=dict)
    """By node: how many kinds of nodes are liked better; 0 where nothing is said. Equal for nodes of one kind."""

    def rank(self, node: str) -> int:
        """How many kinds of nodes are liked better than that of `node`."""
        return self.ranks.get(node, 0)


class Room:
    """What is left of the nodes; changes as pods are put there."""

    def __init__(self, spaces: Mapping[str, Space]) -> None:
        self.spaces = spaces
        self.free = {name: space.slots for name, space in spaces.items()}
        """By node: GPUs or slices that nobody takes."""
        self._shares: dict[str, list[float]] = {name: [] for name, space in spaces.items() if space.slices > 1}

    def holds(self, node: str, demand: Demand, most: int) -> int:
        """How many more replicas of `demand` the node takes, `most` at most."""
        slices = self.spaces[node].slices
        count = min(most, self.free[node] // demand.gpus)
        if slices == 1:
            return count
        # The device plugin, not the plan, picks who shares a GPU: the largest shares of the node may meet on one.
        share, there = self._share(node, demand), self._shares[node]
        return next(
            (fewer for fewer in range(count, 0, -1) if _largest([*there, *[share] * fewer], slices) <= WHOLE), 0
        )

    def put(self, node: str, demand: Demand, count: int) -> None:
        """Take the room of `count` replicas."""
        self.free[node] -= demand.gpus * count
        if node in self._shares:
            self._shares[node] += [self._share(node, demand)] * count

    def take_back(self, node: str, demand: Demand, count: int) -> None:
        """Undo the last `put`."""
        self.free[node] += demand.gpus * count
        if node in self._shares and count:
            del self._shares[node][-count:]

    def state(self, node: str) -> Hashable:
        """Equal for nodes that make no difference now."""
        return self.spaces[node].twin, self.free[node], tuple(sorted(self._shares.get(node, ())))

    def _share(self, node: str, demand: Demand) -> float:
        return 1 / self.spaces[node].slices if demand.share is None else demand.share


@dataclass(frozen=True, kw_only=True)
class Packing:
    """Where replicas go."""

    room: Room
    """What is left with all of them in place."""

    nodes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By server: the node of each replica that has one."""

    exhausted: bool = True
    """Whether no other way holds more of them; False where the search ended before it had seen all ways."""


_Way = tuple[tuple[str, int], ...]
"""Nodes, each with the number of replicas that it gets."""


def pack(spaces: Mapping[str, Space], demands: Sequence[Demand]) -> Packing:
    """Give every replica a node, in the order of `demands`, each on the kind it likes best, where the least stays free.

    Where the one after the other leaves replicas over, another way is looked for that leaves none: the last of
    `demands` are moved first, so that one more at their end moves nobody where there is room for it. If there is none,
    as many stay over as the first way leaves.
    """
    room = Room(spaces)
    # What no empty cluster holds must not make the others impossible; it gets what they leave.
    possible = [demand for demand in demands if _alone(demand, room)]
    nodes, exhausted = (None, True) if _too_much(spaces, possible) else _search(room, possible)
    placed = nodes or {}
    for demand in demands:
        if demand.name not in placed:
            placed[demand.name] = _put(_most(demand, room), demand, room)
    return Packing(room=room, nodes=placed, exhausted=exhausted)


def _alone(demand: Demand, room: Room) -> bool:
    """Whether `room`, still empty, holds all replicas of `demand`."""
    return any(_count(_best_fit(pool, demand, room)) == demand.replicas for pool in _pools(demand, room))


def _too_much(spaces: Mapping[str, Space], demands: Sequence[Demand]) -> bool:
    """Whether counting alone tells that no way holds them all.

    Either more slots are asked of some nodes than they have, or there are more pieces of a size than they can be cut
    into.
    """
    sizes: dict[tuple[str, ...], Counter[int]] = {}
    for demand in demands:
        pieces, size = (1, demand.replicas * demand.gpus) if demand.together else (demand.replicas, demand.gpus)
        sizes.setdefault(demand.nodes, Counter())[size] += pieces
    sets = {nodes: frozenset(nodes) for nodes in sizes}
    for within in set(sets.values()):
        asked = sum((of_set for nodes, of_set in sizes.items() if sets[nodes] <= within), Counter[int]())
        slots = Counter(spaces[node].slots for node in within)
        if sum(size * count for size, count in asked.items()) > sum(has * nodes for has, nodes in slots.items()):
            return True
        for smallest in asked:
            pieces = sum(count for size, count in asked.items() if size >= smallest)
            if pieces > sum(has // smallest * nodes for has, nodes in slots.items()):
                return True
    return False


def _search(room: Room, demands: Sequence[Demand]) -> tuple[dict[str, tuple[str, ...]] | None, bool]:
    """The first way that holds all, put into `room`, and whether every way was seen.

    Depth first, on a stack of its own: a thousand servers are deeper than Python's.
    """
    if not demands:
        return {}, True
    taken: list[_Way] = []
    complete = all(demand.together or len(demand.nodes) <= _MOST_NODES for demand in demands)
    stack = [_ways(demands[0], room)]
    for _ in range(_MOST_STEPS + len(demands)):
        way = next(stack[-1], None)
        if way is None:
            stack.pop()
            if not stack:
                return None, complete
            _take_back(taken.pop(), demands[len(taken)], room)
            continue
        _put(way, demands[len(taken)], room)
        taken.append(way)
        if len(taken) == len(demands):
            return {demand.name: _nodes(way) for demand, way in zip(demands, taken, strict=True)}, True
        stack.append(_ways(demands[len(taken)], room))
    while taken:
        _take_back(taken.pop(), demands[len(taken)], room)
    return None, False


def _pools(demand: Demand, room: Room) -> Iterator[Sequence[str]]:
    """Groups of nodes of which all replicas must come from one."""
    if demand.together:
        yield from ((node,) for node in demand.nodes if room.free[node] >= demand.gpus)
        return
    kinds: dict[Hashable, list[str]] = {}
    for node in demand.nodes:
        kinds.setdefault(room.spaces[node].kind, []).append(node)
    yield from kinds.values()


def _ways(demand: Demand, room: Room) -> Iterator[_Way]:
    """Every way to put all replicas of `demand`: the kind first that it likes best, there the node with least free.

    Of like ways only one.
    """
    if demand.together:
        seen: set[Hashable] = set()
        needed = demand.replicas * demand.gpus
        enough = (n for n in demand.nodes if room.free[n] >= needed)
        for node in sorted(enough, key=lambda n: (demand.rank(n), room.free[n])):
            state = room.state(node)
            if state not in seen and room.holds(node, demand, demand.replicas) == demand.replicas:
                seen.add(state)
                yield ((node, demand.replicas),)
        return
    pools = [(pool, _best_fit(pool, demand, room)) for pool in _pools(demand, room)]
    fitting = [(pool, way) for pool, way in pools if _count(way) == demand.replicas]
    for pool, way in sorted(fitting, key=lambda item: (demand.rank(item[0][0]), _least(item[1], room))):
        if len(pool) > _MOST_NODES:
            yield way
        else:
            yield from _spread(sorted(pool, key=room.free.__getitem__), demand, demand.replicas, room, None)


def _spread(
    nodes: Sequence[str], demand: Demand, left: int, room: Room, before: tuple[Hashable, int] | None
) -> Iterator[_Way]:
    """Ways to put `left` replicas on `nodes`; `before` is the state of the last node and what it got."""
    if left == 0:
        yield ()
        return
    if not nodes or sum(room.free[node] // demand.gpus for node in nodes) < left:
        return
    node, others, state = nodes[0], nodes[1:], room.state(nodes[0])
    most = room.holds(node, demand, left)
    if before is not None and before[0] == state:  # of two that are alike the first gets more
        most = min(most, before[1])
    for count in range(most, -1, -1):
        for rest in _spread(others, demand, left - count, room, (state, count)):
            yield ((node, count), *rest) if count else rest


def _most(demand: Demand, room: Room) -> _Way:
    """The way that holds most of `demand`, and of these the one that leaves least."""
    if demand.together:
        counts = {
            node: room.holds(node, demand, demand.replicas) for node in demand.nodes if room.free[node] >= demand.gpus
        }
        best = max(counts, key=lambda node: (counts[node], -demand.rank(node), -room.free[node]), default=None)
        return ((best, counts[best]),) if best is not None and counts[best] else ()
    return max(
        (_best_fit(pool, demand, room) for pool in _pools(demand, room)),
        key=lambda way: (_count(way), -_rank(way, demand), -_least(way, room)),
        default=(),
    )


def _best_fit(pool: Sequence[str], demand: Demand, room: Room) -> _Way:
    """As many replicas as `pool` takes, the fullest node first."""
    way: list[tuple[str, int]] = []
    left = demand.replicas
    for node in sorted(pool, key=room.free.__getitem__):
        if count := room.holds(node, demand, left):
            way.append((node, count))
            left -= count
        if not left:
            break
    return tuple(way)


def _put(way: _Way, demand: Demand, room: Room) -> tuple[str, ...]:
    for node, count in way:
        room.put(node, demand, count)
    return _nodes(way)


def _take_back(way: _Way, demand: Demand, room: Room) -> None:
    for node, count in reversed(way):
        room.take_back(node, demand, count)


def _nodes(way: _Way) -> tuple[str, ...]:
    return tuple(node for node, count in way for _ in range(count))


def _count(way: _Way) -> int:
    return sum(count for _, count in way)


def _rank(way: _Way, demand: Demand) -> int:
    return min((demand.rank(node) for node, _ in way), default=0)


def _least(way: _Way, room: Room) -> int:
    return min((room.free[node] for node, _ in way), default=0)


def _largest(shares: Sequence[float], count: int) -> float:
    return sum(sorted(shares, reverse=True)[:count])
