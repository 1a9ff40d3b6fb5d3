"""The built-in parts: name -> "module:class or function". Listing the names imports nothing."""

from __future__ import annotations

_DGUNET, _CS = "unfold.models.dgunet", "unfold.models.dgunet_cs:DGUNetCS"
_NRL_GDN, _USRNET = "unfold.models.nrl_gdn:NRLGDN", "unfold.models.usrnet:USRNet"

BUILTIN: dict[str, dict[str, str]] = {
    "network": {
        "composed": "unfold.models.composed:compose",
        **{f"dgunet_{task}": f"{_DGUNET}:DGUNet" for task in ("deblur", "denoise", "derain")},
        **{f"dgunet_plus_{task}": f"{_DGUNET}:DGUNetPlus" for task in ("deblur", "denoise", "derain")},
        **dict.fromkeys(("dgunet_prompt", "dgunet_prompt_narrow"), "unfold.models.dgunet_prompt:DGUNetPrompt"),
        "dgunet_cs": _CS,
        "dgunet_plus_cs": _CS,
        "hqs_denoiser": "unfold.models.hqs_denoiser:HQSDenoiser",
        "ista_net": "unfold.models.ista_net:ISTANet",
        "ista_net_plus": "unfold.models.ista_net:ISTANet",
        "ista_net_plus_mri": "unfold.models.ista_net:ISTANetMRI",
        "nrl_gdn": _NRL_GDN,
        "nrl_gdn_y0": _NRL_GDN,
        "rgdn_uniform": _NRL_GDN,
        "usrnet": _USRNET,
        "usrnet_tiny": _USRNET,
    },
    "degradation": {
        "gaussian": "unfold.degradations.gaussian_noise:GaussianNoise",
        "camera_noise": "unfold.degradations.camera_noise:CameraNoise",
        "paired": "unfold.degradations.paired:Paired",
        "usrnet": "unfold.degradations.blur_downscale:BlurDownscale",
        "nrl_gdn": "unfold.degradations.nonuniform_noise:BlurNoise",
        "rain": "unfold.degradations.synthetic_rain:SyntheticRain",
        "compressive_sensing": "unfold.degradations.sensing:Sensing",
        "gaussian_8bit": "unfold.degradations.truncated_noise:TruncatedNoise",
        "haze": "unfold.degradations.haze:Haze",
        "low_light": "unfold.degradations.low_light:LowLight",
        "motion_blur": "unfold.degradations.motion_blur:MotionBlur",
        "blocks": "unfold.degradations.grey_patches:Blocks",
        "masked_fourier": "unfold.degradations.grey_patches:MaskedFourier",
    },
    "loss": {
        "charbonnier": "unfold.losses.pixel:Charbonnier",
        "l1": "unfold.losses.pixel:L1",
        "mse": "unfold.losses.pixel:MSE",
        "log_mse": "unfold.losses.pixel:LogMSE",
        "symmetry": "unfold.losses.symmetry:Symmetry",
        "noise_level": "unfold.losses.noise_level:NoiseLevel",
        "edge": "unfold.losses.edge:Edge",
        "perceptual": "unfold.losses.vgg_features:Perceptual",
        "adversarial": "unfold.losses.adversarial:Adversarial",
    },
    "protocol": {
        "usrnet_table1": "unfold.protocols.usrnet_evaluations:USRNetTable1",
        "usrnet_bicubic": "unfold.protocols.usrnet_evaluations:USRNetBicubic",
        "usrnet_real": "unfold.protocols.usrnet_evaluations:USRNetReal",
        "nrl_gdn_nonuniform": "unfold.protocols.nrl_gdn_evaluations:NRLGDNNonUniform",
        "nrl_gdn_uniform": "unfold.protocols.nrl_gdn_evaluations:NRLGDNUniform",
        "nrl_gdn_poisson": "unfold.protocols.nrl_gdn_evaluations:NRLGDNPoisson",
        "nrl_gdn_impulse": "unfold.protocols.nrl_gdn_evaluations:NRLGDNImpulse",
        "nrl_gdn_real": "unfold.protocols.nrl_gdn_evaluations:NRLGDNReal",
        "derain_y": "unfold.protocols.derain:Derain",
        "derain_synthetic": "unfold.protocols.derain:DerainSynthetic",
        "deblur_rgb": "unfold.protocols.deblur:Deblur",
        "realblur_aligned": "unfold.protocols.deblur:RealBlur",
        "pairs": "unfold.protocols.any_pairs:Pairs",
        "sidd": "unfold.protocols.sidd:SIDD",
        "dnd": "unfold.protocols.dnd:DND",
        "gaussian_denoise": "unfold.protocols.gaussian_denoising:GaussianDenoising",
        "compressive_sensing": "unfold.protocols.compressive_sensing:CompressiveSensing",
        "aio": "unfold.protocols.all_in_one:AllInOne",
        "ista_net_cs": "unfold.protocols.ista_net_evaluations:ISTANetCS",
        "ista_net_mri": "unfold.protocols.ista_net_evaluations:ISTANetMRI",
        "levin09": "unfold.protocols.levin09:Levin09",
    },
    # The optimizers of torch.optim for dense gradients that need no closure.
    "optimizer": {
        name: f"torch.optim:{name}"
        for name in (
            *("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"),
            "Adafactor",
        )
    },
    "schedule": {
        "cosine": "unfold.training.schedule:Cosine",
        "multistep": "unfold.training.schedule:MultiStep",
        "step": "unfold.training.schedule:Step",
        "constant": "unfold.training.schedule:Constant",
    },
    "data step": {
        "closed_form": "unfold.steps.data_step:ClosedForm",
        "blur_gradient": "unfold.steps.data_step:BlurGradient",
        "learned_gradient": "unfold.steps.data_step:LearnedGradient",
    },
    "prior": {
        "resunet": "unfold.priors.resunet:ResUNet",
        "conv_block": "unfold.priors.conv_block:ConvBlock",
        "pathway_unet": "unfold.priors.pathway_unet:PathwayUNet",
    },
}
