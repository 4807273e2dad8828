"""The red team: `python -m tests.pouw.red_team --trials 1000 [--attack NAME] [--json]`.

Each cheat commits to something else than the work, as well as it can, and is judged under many seeds
(`red_judge.py`). Cheats that a binding, an answer or an input convicts are found whatever is drawn; the
others exactly when a draw hits one of their bad cells, so as often as these predict (`chances.py`).
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import sqrt

from blake3 import blake3

from pouw.models.token_sampling import Sampling
from pouw.training.checkpoint import next_name
from pouw.training.mlp_training import gradient_name, master_weight_name
from pouw.training.transformer_training import gradient_name as text_gradient
from pouw.training.transformer_training import master_name as text_master
from pouw.training.vote_program import BALLOTS, VOTE
from tests.pouw import bert_world, text_world, world
from tests.pouw.red_answers import (
    PROMPT,
    another_models_answer,
    answer,
    cached,
    coarse_answer,
    greedy,
    lengthen,
    narrow,
    opened,
    other_choice,
    prefilled,
    reshaped,
    smaller_program,
    without,
    written,
)
from tests.pouw.red_changes import (
    back_door,
    coarse,
    copy_of,
    grafted,
    in_place_of,
    negative,
    run_with,
    shifted,
    turned,
    zero,
)
from tests.pouw.red_judge import Commit, Judged, Work, changed
from tests.pouw.red_steps import (
    MLP_HERE,
    TEXT_HERE,
    first_row_for_all,
    mlp_step,
    not_worked_on,
    other_claim,
    other_data,
    own_luck,
    own_rate,
    text_step,
    unit,
    units,
    vector,
    vote,
)
from tests.pouw.taken_apart import exchanged

SAMPLES = 64
COMMITS = 5
"""Different inputs that the trials of an attack are spread over."""


@dataclass(frozen=True)
class Attack:
    """A cheat.

    Args:
        commit: what it commits to, of the n-th work.
        certain: whether it is found whatever is drawn.
    """

    commit: Callable[[int], Work | Commit]
    certain: bool = False


ATTACKS: dict[str, Attack] = {
    "honest answers": Attack(answer),
    "honest vectors": Attack(vector),
    "honest commons units": Attack(lambda n: Commit(units(n))),
    "honest steps, digits": Attack(mlp_step),
    "honest steps, text": Attack(text_step),
    "honest shards, text": Attack(partial(text_step, shard=True)),
    "honest votes": Attack(vote),
    "int4 for int8, its own rows opened": Attack(partial(coarse_answer, own=True)),
    "int4 for int8, the model's rows opened": Attack(coarse_answer),
    "int4 for int8 in one matrix of 14": Attack(partial(coarse_answer, name="layer 1 down")),
    "int4 for int8, encoder": Attack(
        lambda n: run_with(vector(n), coarse(bert_world.WEIGHTS, vector(n).program), opens=bert_world.WEIGHTS)
    ),
    "another model of that shape": Attack(another_models_answer),
    "a smaller model: its own program": Attack(smaller_program, certain=True),
    "a smaller model: half the hidden units": Attack(lambda n: written(n, narrow(["gate", "up"]))),
    "early exit after layer 1 of 2": Attack(lambda n: written(n, without(1))),
    "first layer skipped": Attack(lambda n: written(n, without(0))),
    "one attention skipped": Attack(lambda n: written(n, without(1, norms="a"))),
    "one feed-forward skipped": Attack(lambda n: written(n, without(1, norms="b"))),
    "a layer skipped, encoder": Attack(lambda n: changed(vector(n), {"x 2": copy_of("x 1")})),
    "padding read as text, encoder": Attack(partial(vector, lengths=(9, 9))),
    "cached answer to another prompt": Attack(partial(cached, tokens=PROMPT)),
    "cached answer, one token of nine differs": Attack(partial(cached, tokens=1)),
    "another miner's answer, copied": Attack(lambda n: Commit([answer(n)], miner=b"other"), certain=True),
    "another miner's, relabelled": Attack(
        lambda n: Commit([answer(n)], miner=b"other", alter=lambda proof: replace(proof, miner=world.MINER)),
        certain=True,
    ),
    "another unit's work, copied": Attack(
        lambda n: Commit([grafted(work, unit(900 + n)) for work in units(n)])
    ),
    "one row's work for all rows": Attack(lambda n: Commit([first_row_for_all(work) for work in units(n)])),
    "one unit of ten not worked on": Attack(lambda n: Commit([not_worked_on(unit(0)), *units(n + 1)[1:]])),
    "told another answer than committed": Attack(
        lambda n: replace(answer(n), told=(answer(n).trace.answer + 1) % 50), certain=True
    ),
    "answer by another model, then chosen": Attack(partial(prefilled, through="choice")),
    "answer by another model, a logit a token bent": Attack(partial(prefilled, through="logits")),
    "greedy in place of sampled": Attack(lambda n: written(n, {"choice": greedy})),
    "sampled by another seed": Attack(
        lambda n: written(n, {"choice": other_choice(Sampling((b"mine %d" % n,)))})
    ),
    "sampled from the likeliest two": Attack(
        lambda n: written(n, {"choice": other_choice(Sampling((b"request",), top_k=2))})
    ),
    "wrong gradient, digits": Attack(
        lambda n: changed(mlp_step(n), {gradient_name(master_weight_name(0)): negative})
    ),
    "no gradient, digits": Attack(
        lambda n: changed(mlp_step(n), {gradient_name(master_weight_name(2)): zero})
    ),
    "a rate of its own, digits": Attack(own_rate),
    "rounding luck of its own, digits": Attack(own_luck),
    "wrong gradient of one matrix, text": Attack(
        lambda n: changed(text_step(n), {text_gradient("layer 0 gate"): negative})
    ),
    "wrong gradient of one matrix, shard": Attack(
        lambda n: changed(text_step(n, shard=True), {text_gradient("layer 0 gate"): negative})
    ),
    "another shard's step, copied, text": Attack(lambda n: grafted(text_step(n), text_step(n + 20))),
    "an update that was not made, text": Attack(
        lambda n: changed(
            text_step(n),
            {next_name(text_master("head")): in_place_of(TEXT_HERE.weights.array("master head"))},
        )
    ),
    "votes turned round": Attack(lambda n: changed(vote(n), {VOTE: negative})),
    "ballots turned round": Attack(lambda n: changed(vote(n), {BALLOTS: negative})),
    "another vote's work, copied": Attack(lambda n: grafted(vote(n), vote(n + 20))),
    "told another vote than committed": Attack(
        lambda n: replace(vote(n), told=-vote(n).trace.answer), certain=True
    ),
    "poisoned checkpoint, its own rows, digits": Attack(
        lambda n: run_with(mlp_step(n), shifted(MLP_HERE.weights, mlp_step(n).program, "weight 0"))
    ),
    "poisoned checkpoint, the true rows, digits": Attack(
        lambda n: run_with(
            mlp_step(n), shifted(MLP_HERE.weights, mlp_step(n).program, "weight 0"), opens=MLP_HERE.weights
        )
    ),
    "poisoned checkpoint, the true rows, text": Attack(
        lambda n: run_with(
            text_step(n),
            shifted(TEXT_HERE.weights, text_step(n).program, "layer 1 o"),
            opens=TEXT_HERE.weights,
        )
    ),
    "yesterday's checkpoint, text": Attack(lambda n: run_with(text_step(n), text_world.START.weights)),
    "a back door in one row of the next checkpoint": Attack(
        lambda n: changed(mlp_step(n), {next_name("weight 1"): back_door})
    ),
    "told another checkpoint than committed": Attack(lambda n: other_claim(text_step(n)), certain=True),
    "an easier shard, digits": Attack(lambda n: other_data(mlp_step(n), mlp_step(n + 20)), certain=True),
    "an easier shard, text": Attack(lambda n: other_data(text_step(n), text_step(n + 20)), certain=True),
    "reordered rows of one tensor": Attack(lambda n: written(n, {"gated 1": turned})),
    "reordered answer": Attack(lambda n: written(n, {"choice": turned})),
    "reordered rows in the proof": Attack(partial(opened, exchanged), certain=True),
    "reordered items": Attack(
        lambda n: Commit([unit(2 * n), unit(2 * n + 1)], order=lambda i: i[::-1]), certain=True
    ),
    "wrong shape of one tensor": Attack(reshaped),
    "wrong shape of the answer": Attack(
        lambda n: replace(answer(n), told=answer(n).trace.answer.T.copy()), certain=True
    ),
    "wrong length of a row in the proof": Attack(partial(opened, lengthen), certain=True),
}


@dataclass(frozen=True)
class Result:
    """What became of an attack.

    Args:
        attack: its name.
        units: the chance that a draw by units hits a bad cell, in percent.
        tensors: the same for a draw by tensors.
        predicted: how often it must be found, in percent.
        found: how often it was.
        bound: four standard deviations of that, in percent.
        surprises: trials that ended otherwise than their draws say.
        reasons: how often each was given.
        ok: whether all agrees.
    """

    attack: str
    units: float
    tensors: float
    predicted: float
    found: float
    bound: float
    surprises: int
    reasons: dict[str, int]
    ok: bool


def measure(name: str, trials: int, samples: int = SAMPLES) -> Result:
    """Try an attack; seeds and inputs follow from its name and the number of the trial."""
    attack, commits = ATTACKS[name], min(COMMITS, trials)
    reasons: Counter[str] = Counter()
    found = surprises = 0
    mean = variance = by_units = by_tensors = 0.0
    for n in range(commits):
        made = attack.commit(n)
        judged = Judged(made if isinstance(made, Commit) else Commit([made]), certain=attack.certain)
        units_share, tensors_share = judged.shares()
        chance = judged.chance(samples)
        by_units, by_tensors = by_units + units_share / commits, by_tensors + tensors_share / commits
        for trial in range(n, trials, commits):
            seed = blake3(b"%s, trial %d" % (name.encode(), trial)).digest()
            reason = judged.verdict(seed, samples)
            refused = reason is not None
            found += refused
            surprises += refused != judged.is_hit(seed, samples)
            mean, variance = mean + chance, variance + chance * (1 - chance)
            if reason is not None:
                reasons[reason.name] += 1
    bound = 4 * sqrt(variance) + (variance > 0)
    percent = 100 / trials
    return Result(
        attack=name,
        units=100 * by_units,
        tensors=100 * by_tensors,
        predicted=mean * percent,
        found=found * percent,
        bound=bound * percent,
        surprises=surprises,
        reasons=dict(reasons.most_common()),
        ok=not surprises and abs(found - mean) <= bound + 1e-6,
    )


def row_of(result: Result) -> str:
    """A row of the table in `pouw/proofs/README.md`."""
    reasons = ", ".join(result.reasons) or "accepted"
    certain = ATTACKS[result.attack].certain
    shares = "any | any" if certain else f"{result.units:.3g} % | {result.tensors:.3g} %"
    rates = f"{result.predicted:.1f} % | {result.found:.1f} % | {result.bound:.1f}"
    return f"| {result.attack} | {shares} | {rates} | {reasons} | {'ok' if result.ok else 'OFF'} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the attacks; 1 if one of them is found more or less often than it must be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1000, help="seeds for each attack")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="cells drawn from a commit")
    parser.add_argument("--attack", choices=ATTACKS, metavar="NAME", help="one alone; else all of them")
    parser.add_argument("--json", action="store_true", help="print results as JSON")
    options = parser.parse_args(arguments)
    results = []
    if not options.json:
        print("| attack | bad, by units | by tensors | predicted | found | ± | reasons | |")
        print("|---|---|---|---|---|---|---|---|")
    for name in [options.attack] if options.attack else ATTACKS:
        results.append(measure(name, options.trials, options.samples))
        if not options.json:
            print(row_of(results[-1]), flush=True)
    if options.json:
        print(json.dumps([asdict(result) for result in results]))
    return 0 if all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
