"""What FFmpeg may do with a file it is given: which demuxers, nothing but this one file, and pictures up to a sane size."""

from __future__ import annotations

import os
from pathlib import Path

MAX_PIXELS = 8192 * 8192
"""Of one picture. 8K film is half of this; beyond it, a few bytes of a damaged header could claim gigabytes."""
MAX_STREAMS = 128
"""In one file. FFmpeg opens a decoder for each to look at it."""
MAX_ASPECT = 16
"""A pixel's width by its height (or the other way round) beyond which the header is not believed."""

_FILMS = (
    "3g2,3gp,mov,mp4,m4a,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h261,h263,h264,hevc,vvc,evc,av1,obu,ivf,vc1,vc1test,cavsvideo,"
    "avs2,avs3,dirac,dnxhd,mjpeg,mjpeg_2000,smjpeg,dv,mxf,gxf,lxf,asf,asf_o,wtv,flv,live_flv,kux,swf,ogg,nut,nuv,nsv,rm,vivo,"
    "yuv4mpegpipe,dhav,ty,pva,pmp,psxstr,thp,moflex,mods,roq,smk,bink,flic,film_cpk,filmstrip,idcin,ea,4xm,r3d,cine,mlv,mtv,mv,"
    "simbiosis_imx,apv,ipu,mvi,dxa,vmd,wc3movie,xmv,yop,gif,apng,jpegxl_anim"
)
_SOUNDS = "aac,amr,ac3,eac3,aiff,ape,au,caf,dts,dtshd,flac,mp3,oma,tak,truehd,mlp,tta,voc,w64,wav,wv,xwma,mpc,mpc8"
_PICTURES = (
    "bmp_pipe,dds_pipe,dpx_pipe,exr_pipe,gif_pipe,hdr_pipe,ico,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_pipe,jpegxs_pipe,pam_pipe,"
    "pbm_pipe,pcx_pipe,pgm_pipe,pgmyuv_pipe,png_pipe,ppm_pipe,psd_pipe,qoi_pipe,sgi_pipe,sunrast_pipe,tiff_pipe,webp_pipe"
)

INPUT_OPTIONS = {
    # Sounds and pictures are opened so that the refusal can name them. Left out on purpose is everything that opens other
    # files or the network by itself: playlists and manifests (hls, concat, dash, sdp, rtsp, image2 ...), devices, lavfi.
    "format_whitelist": ",".join((_FILMS, _SOUNDS, _PICTURES)),
    "protocol_whitelist": "file",
    "max_streams": str(MAX_STREAMS),
    "max_pixels": str(MAX_PIXELS),
}
"""For `av.open` of an input."""

DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS)}
"""For each decoder of pictures."""


def local_url(path: Path | str) -> str:
    """What FFmpeg is given for a path: it is always taken for a local file, never for a URL, whatever its name begins with."""
    return "file:" + os.fspath(path)
