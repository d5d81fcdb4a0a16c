"""Pictures and mesh files of recovered persons, from NumPy arrays, on any CPU without a display."""

from dualhmr.rendering.animation import ANIMATION_SUFFIXES as ANIMATION_SUFFIXES
from dualhmr.rendering.animation import Animation as Animation
from dualhmr.rendering.animation import step_animation as step_animation
from dualhmr.rendering.keypoint_picture import keypoint_picture as keypoint_picture
from dualhmr.rendering.mesh_files import MESH_SUFFIXES as MESH_SUFFIXES
from dualhmr.rendering.mesh_files import write_mesh as write_mesh
from dualhmr.rendering.meshes import render_meshes as render_meshes
from dualhmr.rendering.overlay import overlay as overlay
from dualhmr.rendering.page import page as page
from dualhmr.rendering.pictures import write_png as write_png
from dualhmr.rendering.strip import shown_steps as shown_steps
from dualhmr.rendering.strip import step_strip as step_strip
from dualhmr.rendering.strip import step_words as step_words
