"""The same bytes come from this process, from two local workers and from a Dask cluster."""

import pyarrow.parquet as pq
import pytest

from rs_course.generation import generate

pytest.importorskip("distributed")
ASK = {"steps": 2, "shard_size": 4, "batch_size": 4, "per_prompt": 5}


def rows(folder) -> list:
    table = [row for file in folder.glob("*.parquet") for row in pq.read_table(file).to_pylist()]
    return sorted(table, key=lambda row: row["index"])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RS_COURSE_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_workers_do_not_change_a_byte(generator, tmp_path):
    from distributed import LocalCluster

    prompts = [{"prompt": "a river", "month": 7}, {"prompt": "a lake"}, "a" * 75 + "sea"]
    with pytest.warns(UserWarning, match="does not see 'sea'"):
        generate(prompts, checkpoint=generator, out=tmp_path / "here", **ASK)
    with pytest.warns(UserWarning, match="does not see 'sea'"):
        generate(prompts, checkpoint=generator, out=tmp_path / "two", workers=2, **ASK)
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        pytest.warns(UserWarning, match="does not see 'sea'"),
    ):
        address = cluster.scheduler_address
        generate(prompts, checkpoint=generator, out=tmp_path / "cluster", scheduler=address, **ASK)
        with pytest.raises(ValueError, match="month is 13"):
            generate(
                [{"prompt": "a", "month": 13}],
                checkpoint=generator,
                out=tmp_path / "wrong",
                scheduler=address,
            )
    expected = rows(tmp_path / "here")
    assert len(expected) == 15
    assert rows(tmp_path / "two") == expected and rows(tmp_path / "cluster") == expected
