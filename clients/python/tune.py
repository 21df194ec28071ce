"""Trains a model on a file of preference pairs, and downloads the result.

    python tune.py 127.0.0.1:7410 pairs.jsonl file:///models/base ./tuned

A call with a request id can be repeated without doing its work twice, and a watch resumes after the last message received.
"""

import hashlib
import pathlib
import sys
import uuid

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from pairwise.v1 import dataset_pb2, dataset_pb2_grpc, export_pb2, export_pb2_grpc
from pairwise.v1 import model_pb2, orchestrator_pb2, orchestrator_pb2_grpc, training_pb2

PROJECT = "projects/default"
CHUNK_BYTES = 1 << 16
ENDED = (orchestrator_pb2.RUN_STATE_SUCCEEDED, orchestrator_pb2.RUN_STATE_FAILED, orchestrator_pb2.RUN_STATE_CANCELLED)


def reason_of(error: grpc.RpcError) -> tuple[str, str]:
    """The reason of an error, and the field of the request that it is about; both may be empty."""
    reason = field = ""
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(request):
            field = request.field_violations[0].field
    return reason, field


def import_pairs(channel: grpc.Channel, path: pathlib.Path) -> str:
    """Uploads a file as a new dataset, and returns the name of its sealed version."""
    datasets = dataset_pb2_grpc.DatasetServiceStub(channel)
    create = dataset_pb2.CreateDatasetRequest(parent=PROJECT, request_id=str(uuid.uuid4()))
    name = datasets.CreateDataset(create).dataset.name
    content = path.read_bytes()

    def messages():
        yield dataset_pb2.ImportPairsRequest(header=dataset_pb2.ImportHeader(parent=name, import_id="pairs"))
        for start in range(0, len(content), CHUNK_BYTES):
            yield dataset_pb2.ImportPairsRequest(chunk=content[start : start + CHUNK_BYTES])
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        yield dataset_pb2.ImportPairsRequest(finish=dataset_pb2.ImportFinish(digest=digest))

    datasets.ImportPairs(messages())
    seal = dataset_pb2.SealVersionRequest(parent=name, request_id=str(uuid.uuid4()))
    return datasets.SealVersion(seal).version.name


def create_run(runs: orchestrator_pb2_grpc.OrchestratorServiceStub, version: str, model_uri: str) -> str:
    """Starts a run of four steps, and returns its name."""
    spec = orchestrator_pb2.RunSpec(
        model=model_pb2.ModelSource(uri=model_uri),
        dataset_version=version,
        training=training_pb2.TrainingSpec(max_steps=4, logging_steps=1, lora=training_pb2.LoraConfig(r=4)),
        export_targets=[export_pb2.ExportTarget(name="adapter", adapter=export_pb2.AdapterTarget())],
    )
    request = orchestrator_pb2.CreateRunRequest(parent=PROJECT, spec=spec, request_id=str(uuid.uuid4()))
    return runs.CreateRun(request).run.name


def watch(runs: orchestrator_pb2_grpc.OrchestratorServiceStub, name: str) -> orchestrator_pb2.Run:
    """Prints what happens in a run until it has ended, and returns it."""
    request = orchestrator_pb2.WatchRunRequest(name=name)
    while True:
        try:
            for message in runs.WatchRun(request):
                request.resume_token = message.resume_token
                if message.HasField("event"):
                    print("event", message.event.message, flush=True)
                elif message.HasField("metrics") and "loss" in message.metrics.values:
                    print("loss", message.metrics.step, message.metrics.values["loss"], flush=True)
            run = runs.GetRun(orchestrator_pb2.GetRunRequest(name=name), wait_for_ready=True).run
            if run.state in ENDED:
                return run
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            print("resuming", flush=True)


def download(channel: grpc.Channel, run: orchestrator_pb2.Run, folder: pathlib.Path) -> None:
    """Stores the files of a run's artifacts."""
    exports = export_pb2_grpc.ExportServiceStub(channel)
    folder.mkdir(parents=True, exist_ok=True)
    for artifact in run.outputs.artifacts:
        for file in artifact.files:
            request = export_pb2.DownloadArtifactRequest(name=artifact.name, path=file.path)
            content = b"".join(message.chunk for message in exports.DownloadArtifact(request))
            if "sha256:" + hashlib.sha256(content).hexdigest() != file.digest:
                raise ValueError(f"{file.path} was damaged on its way")
            (folder / pathlib.PurePosixPath(file.path).name).write_bytes(content)
            print("downloaded", file.path, flush=True)


def main(address: str, pairs: str, model_uri: str, folder: str) -> int:
    with grpc.insecure_channel(address) as channel:
        runs = orchestrator_pb2_grpc.OrchestratorServiceStub(channel)
        try:
            runs.CreateRun(orchestrator_pb2.CreateRunRequest(parent="nowhere"))
        except grpc.RpcError as error:
            print("refused", *reason_of(error), flush=True)
        version = import_pairs(channel, pathlib.Path(pairs))
        run = watch(runs, create_run(runs, version, model_uri))
        if run.state != orchestrator_pb2.RUN_STATE_SUCCEEDED:
            print(run.error.message, file=sys.stderr)
            return 1
        download(channel, run, pathlib.Path(folder))
        return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
