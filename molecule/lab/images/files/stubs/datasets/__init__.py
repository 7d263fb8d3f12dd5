"""Stand-in for datasets (with pandas and pyarrow 200 MB), which sglang.bench_serving imports for some data sets."""

__version__ = "0.0.0"


def load_dataset(*_args, **_kwargs):
    raise RuntimeError(
        "datasets does not exist in this image: use --dataset-name random-ids, or random with a local --dataset-path"
    )
