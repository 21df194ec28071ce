// Command tune trains a model on a file of preference pairs, and downloads the result.
//
//	go run ./tune 127.0.0.1:7410 pairs.jsonl file:///models/base ./tuned
//
// A call with a request id can be repeated without doing its work twice, and a watch resumes after the last message received.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path"
	"path/filepath"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pairwisev1 "pairwise/clients/go/pairwise/v1"
)

const (
	project    = "projects/default"
	chunkBytes = 1 << 16
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 5 {
		log.Fatal("usage: tune ADDRESS PAIRS MODEL_URI FOLDER")
	}
	if err := tune(context.Background(), os.Args[1], os.Args[2], os.Args[3], os.Args[4]); err != nil {
		log.Fatal(err)
	}
}

func tune(ctx context.Context, address, pairs, modelURI, folder string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	runs := pairwisev1.NewOrchestratorServiceClient(conn)
	_, err = runs.CreateRun(ctx, &pairwisev1.CreateRunRequest{Parent: "nowhere"})
	reason, field := reasonOf(err)
	fmt.Println("refused", reason, field)

	version, err := importPairs(ctx, conn, pairs)
	if err != nil {
		return err
	}
	name, err := createRun(ctx, runs, version, modelURI)
	if err != nil {
		return err
	}
	run, err := watch(ctx, runs, name)
	if err != nil {
		return err
	}
	if run.State != pairwisev1.RunState_RUN_STATE_SUCCEEDED {
		return errors.New(run.GetError().GetMessage())
	}
	return download(ctx, conn, run, folder)
}

// reasonOf returns the reason of an error, and the field of the request that it is about; both may be empty.
func reasonOf(err error) (reason, field string) {
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			reason = detail.Reason
		case *errdetails.BadRequest:
			field = detail.FieldViolations[0].Field
		}
	}
	return reason, field
}

// importPairs uploads a file as a new dataset, and returns the name of its sealed version.
func importPairs(ctx context.Context, conn grpc.ClientConnInterface, file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	datasets := pairwisev1.NewDatasetServiceClient(conn)
	created, err := datasets.CreateDataset(ctx, &pairwisev1.CreateDatasetRequest{Parent: project, RequestId: rand.Text()})
	if err != nil {
		return "", err
	}
	name := created.Dataset.Name
	stream, err := datasets.ImportPairs(ctx)
	if err != nil {
		return "", err
	}
	header := &pairwisev1.ImportHeader{Parent: name, ImportId: "pairs"}
	messages := []*pairwisev1.ImportPairsRequest{{Payload: &pairwisev1.ImportPairsRequest_Header{Header: header}}}
	for rest := content; len(rest) > 0; {
		size := min(len(rest), chunkBytes)
		chunk := &pairwisev1.ImportPairsRequest_Chunk{Chunk: rest[:size]}
		messages = append(messages, &pairwisev1.ImportPairsRequest{Payload: chunk})
		rest = rest[size:]
	}
	finish := &pairwisev1.ImportFinish{Digest: digestOf(content)}
	messages = append(messages, &pairwisev1.ImportPairsRequest{Payload: &pairwisev1.ImportPairsRequest_Finish{Finish: finish}})
	for _, message := range messages {
		// After io.EOF, the error of the call is that of CloseAndRecv.
		if err := stream.Send(message); err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return "", err
	}
	sealed, err := datasets.SealVersion(ctx, &pairwisev1.SealVersionRequest{Parent: name, RequestId: rand.Text()})
	if err != nil {
		return "", err
	}
	return sealed.Version.Name, nil
}

// createRun starts a run of four steps, and returns its name.
func createRun(ctx context.Context, runs pairwisev1.OrchestratorServiceClient, version, modelURI string) (string, error) {
	created, err := runs.CreateRun(ctx, &pairwisev1.CreateRunRequest{
		Parent:    project,
		RequestId: rand.Text(),
		Spec: &pairwisev1.RunSpec{
			Model:          &pairwisev1.ModelSource{Source: &pairwisev1.ModelSource_Uri{Uri: modelURI}},
			DatasetVersion: version,
			Training: &pairwisev1.TrainingSpec{
				Duration:     &pairwisev1.TrainingSpec_MaxSteps{MaxSteps: 4},
				LoggingSteps: proto.Int32(1),
				Tuning:       &pairwisev1.TrainingSpec_Lora{Lora: &pairwisev1.LoraConfig{R: proto.Int32(4)}},
			},
			ExportTargets: []*pairwisev1.ExportTarget{{
				Name:   "adapter",
				Format: &pairwisev1.ExportTarget_Adapter{Adapter: &pairwisev1.AdapterTarget{}},
			}},
		},
	})
	if err != nil {
		return "", err
	}
	return created.Run.Name, nil
}

// watch prints what happens in a run until it has ended, and returns it.
func watch(ctx context.Context, runs pairwisev1.OrchestratorServiceClient, name string) (*pairwisev1.Run, error) {
	request := &pairwisev1.WatchRunRequest{Name: name}
	for {
		err := printMessages(ctx, runs, request)
		if err == nil {
			got, err := runs.GetRun(ctx, &pairwisev1.GetRunRequest{Name: name}, grpc.WaitForReady(true))
			if err == nil && hasEnded(got.Run) {
				return got.Run, nil
			}
			if err != nil && status.Code(err) != codes.Unavailable {
				return nil, err
			}
		} else if status.Code(err) != codes.Unavailable {
			return nil, err
		}
		fmt.Println("resuming")
	}
}

// printMessages prints the messages of a watch until the stream ends, and keeps in request where to resume.
func printMessages(ctx context.Context, runs pairwisev1.OrchestratorServiceClient, request *pairwisev1.WatchRunRequest) error {
	stream, err := runs.WatchRun(ctx, request, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		request.ResumeToken = message.ResumeToken
		if event := message.GetEvent(); event != nil {
			fmt.Println("event", event.Message)
		}
		if metrics := message.GetMetrics(); metrics != nil {
			if loss, ok := metrics.Values["loss"]; ok {
				fmt.Println("loss", metrics.Step, loss)
			}
		}
	}
}

func hasEnded(run *pairwisev1.Run) bool {
	switch run.State {
	case pairwisev1.RunState_RUN_STATE_SUCCEEDED, pairwisev1.RunState_RUN_STATE_FAILED, pairwisev1.RunState_RUN_STATE_CANCELLED:
		return true
	default:
		return false
	}
}

// download stores the files of a run's artifacts.
func download(ctx context.Context, conn grpc.ClientConnInterface, run *pairwisev1.Run, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	exports := pairwisev1.NewExportServiceClient(conn)
	for _, artifact := range run.GetOutputs().GetArtifacts() {
		for _, file := range artifact.Files {
			stream, err := exports.DownloadArtifact(ctx, &pairwisev1.DownloadArtifactRequest{Name: artifact.Name, Path: file.Path})
			if err != nil {
				return err
			}
			var content []byte
			for {
				message, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return err
				}
				content = append(content, message.Chunk...)
			}
			if digestOf(content) != file.Digest {
				return fmt.Errorf("%s was damaged on its way", file.Path)
			}
			if err := os.WriteFile(filepath.Join(folder, path.Base(file.Path)), content, 0o644); err != nil {
				return err
			}
			fmt.Println("downloaded", file.Path)
		}
	}
	return nil
}

func digestOf(content []byte) string {
	return fmt.Sprintf("sha256:%x", sha256.Sum256(content))
}
