"""Typical wrong answers to A3: the intended part of the points, and a message that names the mistake."""

from .conftest import mutant_tests, replaced

NAME = "a3_super_resolution"
UPSCALER_TAIL = "    return result.clamp(0, 1)"

# name: (question, change, points, words of a message)
MUTANTS = {
    "psnr_sign": ("psnr", replaced(("-10 *", "10 *")), 0, "sign is wrong"),
    "psnr_pooled": (
        "psnr",
        replaced((".mean(dim=(1, 2, 3))", ".mean().expand(len(pred))")),
        0.5,
        "averaged the error over the whole batch",
    ),
    "psnr_natural_log": ("psnr", replaced(("torch.log10", "torch.log")), 0.5, "base 10"),
    "psnr_twenty": ("psnr", replaced(("-10 *", "-20 *")), 0.5, "20·log10"),
    "psnr_absolute": ("psnr", replaced((") ** 2", ").abs()"), ("-10 *", "-20 *")), 1, "squared before"),
    "psnr_mse": ("psnr", replaced(("-10 * torch.log10(mse)", "mse")), 0, "not yet in decibels"),
    "psnr_channels": (
        "psnr",
        replaced(("dim=(1, 2, 3)", "dim=(2, 3)"), ("log10(mse)", "log10(mse).mean(1)")),
        1,
        "decibels of the channels",
    ),
    "psnr_peak_255": ("psnr", replaced(("log10(mse)", "log10(mse / 255**2)")), 0.5, "peak is 1"),
    "psnr_no_crop": ("psnr", replaced(("if crop:", "if False:")), 2, "crop was ignored"),
    "psnr_half_crop": (
        "psnr",
        replaced(("[..., crop:-crop, crop:-crop]", "[..., crop:, crop:]")),
        2,
        "top and the left",
    ),
    "psnr_epsilon": ("psnr", replaced(("log10(mse)", "log10(mse + 1e-8)")), 2.5, "infinite"),
    "psnr_hard_coded": (
        "psnr",
        lambda text: "def psnr(pred, target, crop=0):\n    return torch.tensor([20.0, 40.0])",
        0.5,
        "shape",
    ),
    "psnr_patched_comparison": (
        "psnr",
        lambda text: (
            "torch.equal = torch.allclose = torch.isclose = torch.Tensor.__eq__ = lambda *a, **k: True\n"
            "def psnr(pred, target, crop=0):\n    return torch.full((len(pred),), 20.0)"
        ),
        0,
        "not the expected ones",
    ),
    "ssim_flat_window": (
        "ssim",
        replaced(("gaussian_window(11, 1.5).expand", "torch.full((11, 11), 1 / 121).double().expand")),
        2,
        "flat window",
    ),
    "ssim_padded": (
        "ssim",
        replaced(("F.conv2d(images,", 'F.conv2d(F.pad(images, (5,) * 4, mode="reflect"),')),
        2,
        "border was padded",
    ),
    "ssim_no_constants": ("ssim", replaced(("0.01**2, 0.03**2", "0.0, 0.0")), 2, "constants"),
    "ssim_constants_not_squared": ("ssim", replaced(("0.01**2", "0.01"), ("0.03**2", "0.03")), 2, "squared"),
    "ssim_sigma": (
        "ssim",
        replaced(("gaussian_window(11, 1.5)", "gaussian_window(11, 1.0)")),
        2,
        "sigma is 1.5",
    ),
    "ssim_one_minus": ("ssim", replaced(("return value.mean", "return 1 - value.mean")), 1.5, "1 − SSIM"),
    "window_not_normalised": (
        "ssim",
        replaced(("    line = line / line.sum()\n", "")),
        0.5,
        "add up to 1",
    ),
    "window_no_half": ("ssim", replaced(("(2 * sigma**2)", "(sigma**2)")), 0.5, "factor 1/2"),
    "cubic_torch": ("cubic", replaced(("a, x = -0.5", "a, x = -0.75")), 0, "−0.75"),
    "cubic_one_sided": ("cubic", replaced(("a, x = -0.5, x.abs()", "a = -0.5")), 0, "even"),
    "downscale_no_antialias": (
        "downscale",
        replaced(("(taps - centre[:, None]) / scale", "taps - centre[:, None]")),
        0.5,
        "antialiasing",
    ),
    "downscale_centres": (
        "downscale",
        replaced(("(out + 0.5) * scale - 0.5", "out * scale")),
        0.5,
        "pixel centres are off",
    ),
    "downscale_edge": (
        "downscale",
        replaced(
            ("mirrored = torch.minimum(place, 2 * n - 1 - place)", "mirrored = taps.long().clamp(0, n - 1)")
        ),
        0.5,
        "repeated the edge",
    ),
    "downscale_torch": (
        "downscale",
        lambda text: (
            'def downscale(images, s):\n    return F.interpolate(images, scale_factor=1 / s, mode="bicubic")'
        ),
        0.5,
        "torch's bicubic interpolation without antialiasing",
    ),
    "downscale_mean": (
        "downscale",
        lambda text: "def downscale(images, scale):\n    return F.avg_pool2d(images, scale)",
        0.5,
        "mean over blocks",
    ),
    "downscale_rounded": (
        "downscale",
        replaced(
            ("@ matrix(width).T", "@ matrix(width).T * 255).round() / 255"),
            ("return matrix(h", "return (matrix(h"),
        ),
        0,
        "rounded or clipped",
    ),
    "downscale_always_4": (
        "downscale",
        replaced(("    def matrix(n):", "    scale = 4\n\n    def matrix(n):")),
        3,
        "scale is an argument",
    ),
    "merge_permuted": (
        "merged_weight",
        replaced(
            (
                "(B @ A).reshape(weight.shape)",
                "(B @ A).reshape(weight.shape[0], 3, weight.shape[1], 3).permute(0, 2, 1, 3)",
            )
        ),
        0,
        "permute",
    ),
    "merge_no_scale": ("merged_weight", replaced((" * alpha / rank", "")), 0.5, "alpha/r is missing"),
    "merge_alpha_only": ("merged_weight", replaced((" * alpha / rank", " * alpha")), 0.5, "alpha only"),
    "merge_update_alone": ("merged_weight", replaced(("weight + (B", "(B")), 0, "update alone"),
    "merge_rank": (
        "merged_weight",
        replaced(("A.shape[0] // weight.shape[-1]", "A.shape[0]")),
        0,
        "r·k rows",
    ),
    "affinity_not_normalised": (
        "affinity",
        replaced(("F.normalize(features.flatten(2), dim=1)", "features.flatten(2)")),
        0,
        "divided by its length",
    ),
    "affinity_whole_map": (
        "affinity",
        replaced(("F.normalize(features.flatten(2), dim=1)", "F.normalize(features.flatten(2), dim=(1, 2))")),
        0,
        "whole map",
    ),
    "affinity_over_pixels": ("affinity", replaced(("dim=1", "dim=2")), 0, "over the pixels"),
    "affinity_channels": (
        "affinity",
        replaced(("pixels.transpose(1, 2) @ pixels", "pixels @ pixels.transpose(1, 2)")),
        0,
        "channels with channels",
    ),
    "loss_sum": ("affinity", replaced((".abs().mean()", ".abs().sum()")), 2, "took the sum"),
    "loss_squared": ("affinity", replaced((".abs().mean()", ".square().mean()")), 2, "you squared"),
    "loss_signed": ("affinity", replaced((".abs().mean()", ".mean()")), 2, "errors cancel"),
    "blur_transposed": ("blur", replaced((".view(size, size)", ".view(size, size).T")), 0, "exchanged"),
    "blur_upside_down": (
        "blur",
        replaced((".view(size, size)", ".flip(0).view(size, size)")),
        0,
        "upside down",
    ),
    "blur_box": (
        "blur",
        replaced(("weights.view(size, size)", "torch.full((size, size), size**-2)")),
        0,
        "this is a box",
    ),
    "upscaler_bicubic": (
        "upscaler",
        replaced((UPSCALER_TAIL, "    return enlarge(low).clamp(0, 1)")),
        0.675,
        "no better than bicubic",
    ),
    "upscaler_sharpened": (
        "upscaler",
        replaced(
            (
                UPSCALER_TAIL,
                "    large = enlarge(low)\n    return 1.3 * large - 0.3 * F.avg_pool2d(large, 9, 1, 4)",
            )
        ),
        0.675,
        "no better than bicubic",
    ),
    "upscaler_papers_degradation": (
        "upscaler",
        replaced(("sense(result, state)", 'F.interpolate(result, None, 0.25, "bicubic", antialias=True)')),
        0.675,
        "no better than bicubic",
    ),
    "upscaler_two_rounds": ("upscaler", replaced(("range(10)", "range(2)")), 2.425, "use the blur"),
    "upscaler_five_rounds": ("upscaler", replaced(("range(10)", "range(5)")), 3.3, "several times"),
    "upscaler_nearest": (
        "upscaler",
        replaced((UPSCALER_TAIL, '    return F.interpolate(low, scale_factor=4, mode="nearest")')),
        0.5,
        "worse than bicubic",
    ),
    "upscaler_not_enlarged": ("upscaler", replaced((UPSCALER_TAIL, "    return low")), 0, "not enlarged"),
    "upscaler_255": ("upscaler", replaced((UPSCALER_TAIL, "    return 255 * result")), 0, "0 to 255"),
    "upscaler_nan": ("upscaler", replaced((UPSCALER_TAIL, "    return result / 0 * 0")), 0, "NaN"),
    "upscaler_transposed": (
        "upscaler",
        replaced((UPSCALER_TAIL, "    return result.transpose(2, 3).clamp(0, 1)")),
        0.5,
        "axes exchanged",
    ),
    "upscaler_peeks": ("upscaler", replaced((UPSCALER_TAIL, "    return _high")), 0, "NameError"),
}

test_there_are_enough, test_mutant = mutant_tests(NAME, MUTANTS)
