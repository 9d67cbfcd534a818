"""DSCF, EFDN and SPAN equal the official code's outputs, layer by layer; loading names what is wrong."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from rs_course import superres
from rs_course.superres.loading import build

FILES = {"dscf": "team23_DSCF.safetensors", "efdn": "team00_EFDN.safetensors"}


@pytest.fixture(scope="module", params=["dscf", "efdn"])
def official(request, golden):
    return request.param, superres.load(golden.folder / FILES[request.param])


def assert_like_official(result, expected, relative=5e-5):
    assert result.shape == expected.shape
    assert (result - expected).abs().max() <= relative * max(1, expected.abs().max())


@torch.no_grad()
def test_outputs_on_photographs(golden, official):
    name, network = official
    for image in golden.numbers["images"]:
        result = network(golden.image(f"img.{image}.lr_u8"))[0]
        assert_like_official(result, golden[f"img.{image}.{name}_out"])
        stored = (superres.degradation.round8(result) * 255).byte().permute(1, 2, 0)
        wrong = stored.int() - golden[f"img.{image}.{name}_u8"].int()
        assert wrong.abs().max() <= 1 and (wrong != 0).sum() <= 3


@torch.no_grad()
def test_outputs_on_other_inputs(golden, official):
    name, network = official
    for case in golden.numbers["random"]:
        if f"rnd.{case}.{name}_out" in golden:
            # Off the network's domain its own float32 error is that large (see the fixture's note): in
            # float64, EFDN is 1.5e-3 away from the stored float32 outputs of the case out of range.
            off = {"white_noise": 1e-3, "outofrange": 5e-3}
            relative = next((bound for kind, bound in off.items() if case.startswith(kind)), 5e-5)
            assert_like_official(
                network(golden[f"rnd.{case}.in"]), golden[f"rnd.{case}.{name}_out"], relative
            )


@torch.no_grad()
def test_dscf_in_float64_agrees_where_float32_cannot(golden):
    network = superres.load(golden.folder / FILES["dscf"]).double()
    result = network(golden["rnd.white_noise_17x23.in"].double())
    assert_like_official(result, golden["rnd.white_noise_17x23.dscf_out_fp64"], 1e-9)


@torch.no_grad()
def test_dscf_layers(golden):
    network = superres.load(golden.folder / FILES["dscf"])
    seen = {}
    for name in ("conv_1", "conv_2", "conv_cat", "upsampler.0"):
        network.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: seen.update(
                {name: out.clone(), f"{name}.in": args[0].clone()}
            )
        )
    out, maps = network(golden["feat.in"], return_features=True)
    expected = {
        "feat.normalised": seen["conv_1.in"],
        "feat.conv_1": seen["conv_1"],
        "feat.conv_2": seen["conv_2"],
        "feat.conv_cat": seen["conv_cat"],
        "feat.upsampler_conv": seen["upsampler.0"],
        "feat.out": out,
        "feat.block_1.out1_as_returned_silu": maps["convolutions"][0],
        "feat.block_1.out2_as_returned_silu": maps["convolutions"][1],
        "feat.block_1.out3": maps["convolutions"][2],
        "feat.block_6.out1_as_returned_silu": seen["conv_cat.in"][:, 78:],
        **{f"feat.block_{i}.out": block for i, block in enumerate(maps["blocks"], start=1)},
    }
    for name, value in expected.items():
        assert_like_official(value, golden[name], 1e-5)


def test_gradients_enabled_or_not_give_one_result(golden):
    network = superres.load(golden.folder / FILES["dscf"])
    x = golden["feat.in"]
    with torch.no_grad():
        without = network(x)
    assert torch.equal(network(x), without)


def test_span_branches_and_merged(golden):
    file = golden.folder / "span_tiny8_random.safetensors"
    network = superres.SPAN(8, branches=True)
    network.load_state_dict(load_file(file))
    x = golden["span8.in"]
    with torch.no_grad():
        assert_like_official(network(x), golden["span8.out_train_branches"])
        assert_like_official(network.merge()(x), golden["span8.out_eval_merged"])
    for key in ("block_3.c2_r.eval_conv.weight", "conv_1.eval_conv.bias"):
        assert (network.state_dict()[key] - golden[f"span8.merged.{key}"]).abs().max() < 1e-6
    assert all(torch.equal(superres.load(file).state_dict()[k], v) for k, v in network.state_dict().items())
    network.merge()  # a merged network stays as it is


@pytest.mark.parametrize(("channels", "count"), [(26, 130_828), (28, 150_688), (48, 426_288)])
def test_parameter_counts_of_the_literature(channels, count):
    assert sum(p.numel() for p in superres.SPAN(channels).parameters()) == count


@torch.no_grad()
def test_merging_is_exact_at_the_border_too(photograph):
    torch.manual_seed(0)
    network = superres.SPAN(6, scale=3, branches=True).double()
    before = network(photograph.double())
    assert before.shape == (2, 3, 120, 156)
    assert torch.allclose(network.merge()(photograph.double()), before, atol=1e-11)


@torch.no_grad()
def test_a_pixel_reaches_exactly_21_pixels():
    torch.manual_seed(0)
    network = superres.SPAN(26).double()
    for parameter in network.parameters():
        parameter *= 2  # so that the faintest influence, 21 pixels away, is above float64's rounding
    x = torch.full((1, 3, 64, 64), 0.5, dtype=torch.float64)
    y = x.clone()
    y[..., 32, 32] = 0.6
    rows = (network(x) != network(y)).any(dim=(0, 1, 3)).nonzero() // 4
    assert (rows.min(), rows.max()) == (32 - network.halo, 32 + network.halo)


def test_load_recognises_files_and_wrappers(tmp_path):
    network = superres.SPAN(6, scale=2)
    torch.save({"params_ema": network.state_dict()}, tmp_path / "span.pth")
    loaded = superres.load(tmp_path / "span.pth")
    assert (loaded.channels, loaded.scale, loaded.training) == (6, 2, False)
    efdn = superres.EFDN()
    save_file(efdn.state_dict(), tmp_path / "efdn.safetensors")
    assert isinstance(superres.load(str(tmp_path / "efdn.safetensors")), superres.EFDN)
    with pytest.raises(FileNotFoundError, match="one weight file"):
        superres.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv_2.eval_conv.bias"), "lacks 1 tensors, first 'conv_2.eval_conv.bias'"),
        (lambda s: s.update({"extra.weight": torch.ones(1)}), "1 tensors too many, first 'extra.weight'"),
        (lambda s: s.update({"conv_cat.bias": torch.ones(3)}), r"conv_cat.bias has shape \[3\], SPAN needs"),
        (lambda s: s.update({"conv_2.eval_conv.lora_A": torch.ones(3)}), "ConvLoRA factors"),
        (lambda s: s.pop("upsampler.0.weight"), "no network known here"),
    ],
)
def test_load_names_what_does_not_fit(change, message):
    state = superres.SPAN(6).state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        build(state)


def test_load_without_such_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path))
    how = r"run 'rs-course fetch dsclora', or put team23_DSCF.pth from https://github.com/Yaozzz666"
    with pytest.raises(FileNotFoundError, match=how):
        superres.load("dscf")
    fetched = tmp_path / "fetched" / "dsclora" / "team23_DSCF.pth"
    fetched.parent.mkdir(parents=True)
    torch.save(superres.SPAN(26).state_dict(), fetched)
    with pytest.raises(ValueError, match="SHA-256"):  # found, but not the published file
        superres.load("dscf")
    with pytest.raises(FileNotFoundError, match="'mini-dscf' ships"):
        superres.load("edsr")
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        superres.load("elsewhere/edsr.pth")
    (tmp_path / "bad.pth").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="is not a PyTorch file"):
        superres.load(tmp_path / "bad.pth")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 4, 16, 16), r"pass images\[:, :3\]"),
        ((3, 16, 16), "add the batch axis"),
        ((1, 3, 14, 20), "at least 15×15 pixels, not 14×20"),
    ],
)
def test_bad_input_to_a_network(shape, message):
    with pytest.raises(ValueError, match=message):
        superres.EFDN()(torch.zeros(shape))


def test_bytes_are_refused():
    with pytest.raises(TypeError, match="divide uint8 by 255"):
        superres.SPAN(4)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
