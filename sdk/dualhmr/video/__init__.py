"""Videos: frames, tracks, and bodies that are adapted from frame to frame."""

from dualhmr.video.frames import VideoFrame as VideoFrame
from dualhmr.video.frames import VideoReader as VideoReader
from dualhmr.video.frames import VideoWriter as VideoWriter
from dualhmr.video.recover_video import recover_video as recover_video
from dualhmr.video.tracks import TrackingOptions as TrackingOptions
from dualhmr.video.video_recoverer import FrameRecovery as FrameRecovery
from dualhmr.video.video_recoverer import VideoRecoverer as VideoRecoverer
from dualhmr.video.video_recovery import PersonTrack as PersonTrack
from dualhmr.video.video_recovery import VideoRecovery as VideoRecovery
from dualhmr.video.warm_start import WarmOptions as WarmOptions
