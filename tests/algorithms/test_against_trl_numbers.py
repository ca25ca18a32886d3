"""Loss and gradient against numbers that TRL's own loss code printed.

TRL 1.16.0, torch 2.13.0+cpu, float64, one process, one micro-batch:
`PYTHONPATH=tests .venv-peers/bin/python tests/peers/test_trl_losses.py`. The cases are those of `tests/trl_case.py`:
with and without old log-probabilities, with each KL term, and with the importance of a sampler that is another one.
"""

import pytest

from trl_case import CASES, fingerprint, whet_loss

# name: (loss, norm of the gradient, fingerprint of the gradient)
TRL = {
    "grpo": (0.186780288900, 0.197974278148, 2.457959853779),
    "grpo k3": (0.188085905210, 0.198206027975, 2.476690549049),
    "grpo weighted_k3": (0.188085905210, 0.198258338095, 2.487126520445),
    "grpo old": (0.158539917864, 0.097175709826, 1.800593983072),
    "grpo old k3": (0.159845534174, 0.097937893315, 1.819324678342),
    "grpo old weighted_k3": (0.159880357894, 0.098180846580, 1.837457975435),
    "dr_grpo": (0.000000000000, 0.015625000000, 0.217881944444),
    "dr_grpo k3": (0.000281034502, 0.015661017591, 0.219586011107),
    "dr_grpo weighted_k3": (0.000281034502, 0.015660293473, 0.221590277778),
    "dr_grpo old": (-0.000721313319, 0.012931790750, 0.178888188806),
    "dr_grpo old k3": (-0.000440278817, 0.013020990059, 0.180592255468),
    "dr_grpo old weighted_k3": (-0.000436337101, 0.013031989234, 0.184031188432),
    "bnpo": (-0.010457519221, 0.197380259729, 2.667198291669),
    "bnpo k3": (-0.008658898406, 0.197588854850, 2.678104318307),
    "bnpo weighted_k3": (-0.008658898406, 0.197577696772, 2.690931625002),
    "bnpo old": (-0.019720730316, 0.162813037700, 2.186264697488),
    "bnpo old k3": (-0.017922109501, 0.163342090493, 2.197170724126),
    "bnpo old weighted_k3": (-0.017896882520, 0.163400373100, 2.219179895094),
    "dapo": (-0.010457519221, 0.197380259729, 2.667198291669),
    "dapo k3": (-0.008658898406, 0.197588854850, 2.678104318307),
    "dapo weighted_k3": (-0.008658898406, 0.197577696772, 2.690931625002),
    "dapo old": (-0.021147295547, 0.182032321023, 2.023443560627),
    "dapo old k3": (-0.019348674732, 0.182768843011, 2.034349587265),
    "dapo old weighted_k3": (-0.019323447751, 0.182848097284, 2.056358758234),
    "gspo": (0.186780288900, 0.197974278148, 2.457959853779),
    "gspo k3": (0.188085905210, 0.198206027975, 2.476690549049),
    "gspo old": (0.195602365600, 0.084111866986, 0.536462160248),
    "gspo old k3": (0.196907981910, 0.084842872559, 0.555192855518),
    "cispo": (-0.013503179316, 0.197380259729, 2.667198291669),
    "cispo k3": (-0.011704558501, 0.197588854850, 2.678104318307),
    "cispo weighted_k3": (-0.011704558501, 0.197577696772, 2.690931625002),
    "cispo old": (0.000715234744, 0.192709414792, 2.606455479130),
    "cispo old k3": (0.002513855559, 0.193137001747, 2.617361505768),
    "cispo old weighted_k3": (0.002539082540, 0.193318645651, 2.639370676736),
    "rloo": (0.145833333333, 0.375000000000, 5.229166666667),
    "rloo old": (0.123071557781, 0.313427884766, 4.338147537780),
    "rloo old reward": (0.125241024407, 0.315328355864, 4.385095645855),
    "grpo old k3 tis": (0.113451677676, 0.102861651558, 1.857026427778),
    "dr_grpo old k3 tis": (-0.002750345565, 0.013543985573, 0.179691052202),
    "dapo old k3 tis": (-0.049160929703, 0.197680683858, 1.989963028543),
    "cispo old k3 tis": (0.033936282490, 0.205859685672, 2.620421297812),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_loss_and_gradient_are_the_numbers_of_trl(case):
    loss, gradient = whet_loss(case)
    assert (loss.item(), gradient.norm().item(), fingerprint(gradient)) == pytest.approx(
        TRL[case.name], abs=1e-10
    )


def test_every_number_belongs_to_a_case():
    assert set(TRL) == {case.name for case in CASES}
