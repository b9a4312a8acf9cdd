"""What the tests of the loop share: drafters that are right, wrong or random, and a generation."""

from itertools import islice

import numpy as np

from aded_edge.decode.budget import FixedBudget
from aded_edge.decode.loop import Loop
from aded_edge.draft.tree import DraftTree
from tests.draft.reading import chain
from tests.scripted import ScriptedTarget

VOCABULARY = 6
PROMPT = [1, 2, 3]
EMPTY = np.empty(0, np.int32)


def greedy(row, logits):
    return int(logits.argmax())


def sampler(seed, temperature=1.0):
    rng = np.random.default_rng(seed)

    def choose(row, logits):
        odds = np.exp((logits - logits.max()) / temperature, dtype=np.float64)
        return int(rng.choice(len(odds), p=odds / odds.sum()))

    return choose


class NoDrafter:
    def draft(self, history, root, max_nodes, worth):
        return DraftTree.empty()

    def learn(self, *steps):
        pass


class TreeDrafter(NoDrafter):
    """Drafts what `make(path, most)` returns; keeps the steps that it learned from."""

    def __init__(self, make):
        self.make = make
        self.steps = []

    def draft(self, history, root, max_nodes, worth):
        return self.make([*history[-2:].tolist(), root], max_nodes)

    def learn(self, *steps):
        self.steps += steps


def likeliest(target, path):
    return int(target.behind(path).argmax())


def continuation(target, path, n):
    """The n tokens that the target chooses greedily after `path`."""
    path = list(path)
    for _ in range(n):
        path.append(likeliest(target, path))
    return path[len(path) - n :]


def perfect_chain(target):
    return lambda path, most: chain(continuation(target, path, min(most, 5)))


def adversarial_chain(target):
    """Right at first, then always the target's least likely token."""

    def make(path, most):
        right = continuation(target, path, 1)
        worst = int(target.behind([*path, *right]).argmin())
        return chain([*right, worst, worst][:most])

    return make


def perfect_tree(target):
    """Every token of the vocabulary after the root, and the right one after each."""

    def make(path, most):
        tokens, parents = list(range(VOCABULARY)), [-1] * VOCABULARY
        for node in range(VOCABULARY):
            tokens += continuation(target, [*path, node], 1)
            parents.append(node)
        return DraftTree.build(tokens, parents).prefix(most)

    return make


def adversarial_tree(target):
    """Every token but the one that the target will choose."""

    def make(path, most):
        right = continuation(target, path, 1)[0]
        wrong = [token for token in range(VOCABULARY) if token != right]
        tokens = wrong + [right] * len(wrong)
        parents = [-1] * len(wrong) + list(range(len(wrong)))
        return DraftTree.build(tokens, parents).prefix(most)

    return make


def random_tree(target):
    rng = np.random.default_rng(5)

    def make(path, most):
        tokens, parents = [], []
        for _ in range(min(int(rng.integers(0, 12)), most)):
            parent = int(rng.integers(-1, len(tokens)))
            token = int(rng.integers(VOCABULARY))
            if (parent, token) not in zip(parents, tokens, strict=True):
                tokens.append(token)
                parents.append(parent)
        return DraftTree.build(tokens, parents)

    return make


DRAFTS = [perfect_chain, adversarial_chain, perfect_tree, adversarial_tree, random_tree]


def ngram(seed=0, sharpness=3.0):
    return ScriptedTarget.ngram(VOCABULARY, order=2, seed=seed, sharpness=sharpness)


def decode(target, drafter, n, choose=greedy, budget=None):
    target.read(PROMPT)
    loop = Loop(target, drafter, budget or FixedBudget(16))
    tokens = list(islice(loop.run(choose), n))
    return tokens, loop
