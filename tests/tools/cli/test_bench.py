"""`headrace bench work`: what it measures, and how it is asked."""

import pytest

pytest.importorskip("torch", reason="the benchmark is of torch's backends")


def test_bench_measures_every_way(headrace):
    done = headrace(
        "bench", "work", "--device", "cpu", "--width", "32", "--width", "64", "--tokens", "5",
        "--repeats", "2", "--threads", "1", "--json",
    )  # fmt: skip
    document = done.document
    assert document["device"].startswith("cpu (torch ")
    assert document["threads"] == 1
    assert [case["width"] for case in document["cases"]] == [32, 64]
    for case in document["cases"]:
        assert set(case["seconds"]) == {"plain", "committed", "float32", "bf16", "products"}
        assert set(case["ratios"]) == {"float32", "bf16", "plain"}
        spreads = [*case["ratios"].values(), case["units_per_second"], case["product_share"]]
        assert all(0 < spread["least"] <= spread["median"] <= spread["most"] for spread in spreads)


def test_bench_refuses_what_it_cannot_measure(headrace):
    for arguments, said in (
        (("--width", "40"), "40 is no multiple of 32"),
        (("--device", "cuda:7"), "no GPU number 7"),
        (("--device", "tpu"), "'tpu' is no device"),
    ):
        assert said in headrace("bench", "work", *arguments).err


def test_bench_says_what_a_ratio_is(headrace):
    shown = headrace("bench", "work", "--help").out
    assert "Example: headrace bench work" in shown
    assert "below 1 it is faster" in shown
