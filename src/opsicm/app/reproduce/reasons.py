"""Why a number of ours misses the paper's: shown beside a row only where its verdict is no agreement."""

from __future__ import annotations

from typing import Final

_RQ: Final = (
    "The twin was told 1.3 µm for its whole square of 20 µm; along single rows, each about its own mean, less is "
    "left. The paper does not say how its images were levelled, nor whether its Rq is of rows or of the area. The "
    "same plates stand for E6 and E7, whereas the paper's images are of two places."
)

REASONS: Final[dict[str, str]] = {
    "E1.linearity": (
        "The default conductivity has its maximum near 1 M, where the current hardly knows the salt: with it the "
        "paper's line cannot be. Either this electrolyte's conductivity is steeper, or electro-osmosis carries "
        "outside liquid into the tip. A laboratory decides it with the calibration itself, over 0.3 to 2 M, at both "
        "signs of the bias (electro-osmosis follows the bias, conductivity does not) and with a conductivity cell "
        "beside it."
    ),
    "E1.slope": "See E1.linearity: near the maximum of the conductivity the current does not follow the salt.",
    "E4.slope_lithiation": (
        "At constant current the ohmic part is constant, so that only salt and convection can drift. Near the "
        "maximum of the conductivity a change of salt hardly shows, and natural convection ends the depletion within "
        "minutes. A steady rise through the whole charge needs a steeper conductivity or a drift of the pipette "
        "itself, which a rest of the same length would show."
    ),
    "E4.slope_delithiation": "As E4.slope_lithiation; delithiation does not convect, so that diffusion goes on longer.",
    "E4.constancy": "As E4.slope_lithiation: what drifts follows the square root of time, and then convection ends it.",
    "E6.Rq_first": _RQ,
    "E6.Rq_0.5": _RQ,
    "E6.Rq_0.3": _RQ,
    "E6.Rq_0.1": _RQ,
    "E6.Rq_back_0.2": _RQ,
    "E6.Rq_back_0.4": _RQ,
    "E7.Rq_before": _RQ,
    "E7.Rq_charged": _RQ,
    "E7.Rq_after": _RQ,
    "E6.event": (
        "The twin's plate comes off below the potential it was told, so that the first image without it is the next "
        "lower one of the ladder."
    ),
    "E9.stage_1": (
        "How far the second half goes depends on how far the electrode is lithiated when the sweep turns round. The "
        "paper's total fits an electrode that stops near two thirds. A fully compensated thin electrode (short form) "
        "goes to the end; one that keeps the whole ohmic drop of 4 mm of electrolyte (long form) turns round at a "
        "third. With 85 % of the drop compensated it reaches three quarters (E9.total_compensated), but then the bulk "
        "current changes by 1.6 % over ten hops, three times what the paper reports. The text states neither the "
        "compensation nor the place of the reference."
    ),
    "E9.stage_1_height": "See E9.stage_1.",
    "E9.stage_2": "See E9.stage_1: halves are halves of the charge that was passed.",
    "E9.stage_2_height": "See E9.stage_1.",
    "E9.total": "See E9.stage_1.",
    "E9.total_compensated": "See E9.stage_1: the total follows the compensation, which the text does not state.",
    "E9.onset": (
        "Half a percent of the whole change, which is what the row asks for, is a few nanometres: so much the graphite "
        "swells already between 1.7 and 1.2 V, where microamperes lithiate it. It rises steeply from 0.9 V on, and on "
        "a scale of micrometres, as the paper draws it, nothing else can be seen."
    ),
    "E9.ten_hops": (
        "The bulk current follows the cell current through the ohmic drop; at a faster sweep (short form) it moves "
        "faster. The number is the worst ten hops of the whole sweep, the paper's procedure is not stated."
    ),
    "E9.knee": "The broken line of the height between its onset and half the charge; the paper reads it by eye.",
    "E10.net": (
        "What geometry alone does to the current near the surface explains what is seen; after it is taken away "
        "nothing of that sign and size remains. The paper does not compare with geometry."
    ),
    "E10.hollows": (
        "The twin's pipette meets every place with the approach curve of a flat surface: what the walls beside a "
        "hollow take of the current is in the apparent height, not in the shape of the curve. And no salt is kept "
        "apart in a hollow, the bath being one layer over the whole specimen. So nothing can be seen here; a "
        "finite-element field over a real hollow would have to say how much of the paper's contrast is geometry."
    ),
    "E10.reach": (
        "How far above the surface the current is visibly lower depends on what counts as visible (here 0.1 % of the "
        "current) and on the cone; geometry alone reaches this far."
    ),
    "E11.C": (
        "The paper sees a change within 0.4 mm. The ohmic part changes the current over all 2.5 mm, and no length fits "
        "that; with it switched off the table below has one. It follows from diffusion since the current turned, and "
        "from where convection ends the layer."
    ),
    "E11.D": (
        "During delithiation the ohmic part lowers the current near the sample, the salt is enriched there: both are "
        "in this number. The text puts D between C and the end; here it is read at the largest cell current after C."
    ),
}
