"""Crops of persons, made as each release makes them; `conventions` describes them."""

from dualhmr.crop.antialiased import crop_to_image_affine as crop_to_image_affine
from dualhmr.crop.conventions import CROP_CONVENTIONS as CROP_CONVENTIONS
from dualhmr.crop.conventions import CropConvention as CropConvention
from dualhmr.crop.conventions import crop_convention as crop_convention
from dualhmr.crop.conventions import crop_person as crop_person
