package argocd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/sync/syncwaves"
	argo "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"vaultsecret/gitops/tests/recorded"
)

// Every field of the examples is one that Argo CD knows, and what is in this repository is where they say.
func TestApplications(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(recorded.Root(), "argocd", "applications", "*.yaml"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v: %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		application := argo.Application{}
		if err := yaml.UnmarshalStrict(text, &application); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if _, err := os.Stat(filepath.Join(recorded.Root(), "..", application.Spec.Source.Path)); err != nil {
			t.Error(err)
		}
		options := application.Spec.SyncPolicy.SyncOptions
		if !options.HasOption("ServerSideApply=true") {
			t.Errorf("%s: %v", file, options)
		}
	}
}

// Argo CD reads the waves as they are meant.
func TestWaves(t *testing.T) {
	for path, wave := range map[string]int{"secrets/checkout": 1, "workloads/checkout": 2} {
		object, err := recorded.Read(filepath.Join(recorded.Root(), "example", filepath.FromSlash(path)+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if got := syncwaves.Wave(object); got != wave {
			t.Errorf("%s is in wave %d", path, got)
		}
	}
	if wave := syncwaves.Wave(&unstructured.Unstructured{Object: map[string]any{}}); wave != 0 {
		t.Errorf("an object without the annotation is in wave %d", wave)
	}
}
