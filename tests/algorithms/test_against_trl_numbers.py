"""Loss and gradient against numbers that TRL's own loss code printed.

TRL 1.16.0, torch 2.13.0+cpu, float64, one process, one micro-batch:
`PYTHONPATH=tests .venv-peers/bin/python tests/peers/test_trl_losses.py`. The cases are those of `tests/trl_case.py`:
with and without old log-probabilities, and with each KL term.
"""

import pytest

from trl_case import CASES, fingerprint, whet_loss

# name: (loss, norm of the gradient, fingerprint of the gradient)
TRL = {
    "grpo": (0.186780288900, 0.197974278148, 2.457959853779),
    "grpo k3": (0.188085905210, 0.198206027975, 2.476690549049),
    "grpo weighted_k3": (0.188085905210, 0.198258338095, 2.487126520445),
    "grpo old": (0.183367347844, 0.186577875376, 1.906688719895),
    "grpo old k3": (0.184672964154, 0.186755175252, 1.925419415165),
    "grpo old weighted_k3": (0.184659551021, 0.186917908421, 1.939991390447),
    "dr_grpo": (0.000000000000, 0.015625000000, 0.217881944444),
    "dr_grpo k3": (0.000281034502, 0.015661017591, 0.219586011107),
    "dr_grpo weighted_k3": (0.000281034502, 0.015660293473, 0.221590277778),
    "dr_grpo old": (-0.000446024974, 0.012304045488, 0.167487705742),
    "dr_grpo old k3": (-0.000164990472, 0.012335824535, 0.169191772404),
    "dr_grpo old weighted_k3": (-0.000168667961, 0.012373387430, 0.171992479022),
    "bnpo": (-0.010457519221, 0.197380259729, 2.667198291669),
    "bnpo k3": (-0.008658898406, 0.197588854850, 2.678104318307),
    "bnpo weighted_k3": (-0.008658898406, 0.197577696772, 2.690931625002),
    "bnpo old": (-0.015835855839, 0.154876730627, 2.056280813475),
    "bnpo old k3": (-0.014037235024, 0.155055879080, 2.067186840113),
    "bnpo old weighted_k3": (-0.014060770953, 0.155284270702, 2.085111362471),
    "dapo": (-0.010457519221, 0.197380259729, 2.667198291669),
    "dapo k3": (-0.008658898406, 0.197588854850, 2.678104318307),
    "dapo weighted_k3": (-0.008658898406, 0.197577696772, 2.690931625002),
    "dapo old": (-0.022594687950, 0.174969946967, 1.893459676615),
    "dapo old k3": (-0.020796067135, 0.175402785286, 1.904365703252),
    "dapo old weighted_k3": (-0.020819603064, 0.175632996555, 1.922290225611),
    "gspo": (0.186780288900, 0.197974278148, 2.457959853779),
    "gspo k3": (0.188085905210, 0.198206027975, 2.476690549049),
    "gspo old": (0.186724254813, 0.182537678299, 0.249950009998),
    "gspo old k3": (0.188029871123, 0.182601799155, 0.268680705268),
    "cispo": (-0.013503179316, 0.197380259729, 2.667198291669),
    "cispo k3": (-0.011704558501, 0.197588854850, 2.678104318307),
    "cispo weighted_k3": (-0.011704558501, 0.197577696772, 2.690931625002),
    "cispo old": (-0.004636487718, 0.201302233966, 2.536371151229),
    "cispo old k3": (-0.002837866903, 0.201418854128, 2.547277177867),
    "cispo old weighted_k3": (-0.002861402832, 0.201344726711, 2.565201700225),
    "rloo": (0.145833333333, 0.375000000000, 5.229166666667),
    "rloo old": (0.121034892418, 0.310793846649, 0.436591315748),
    "rloo old reward": (0.123419296284, 0.314322284715, 0.507011351534),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_loss_and_gradient_are_the_numbers_of_trl(case):
    loss, gradient = whet_loss(case)
    assert (loss.item(), gradient.norm().item(), fingerprint(gradient)) == pytest.approx(
        TRL[case.name], abs=1e-10
    )


def test_every_number_belongs_to_a_case():
    assert set(TRL) == {case.name for case in CASES}
