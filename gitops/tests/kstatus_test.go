package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"

	"vaultsecret/gitops/tests/recorded"
)

// What Flux waits for, by its own library.
func TestFluxSeesTheTruth(t *testing.T) {
	for _, state := range recorded.States {
		t.Run(state.String(), func(t *testing.T) {
			object, err := recorded.Read(state.Path())
			if err != nil {
				t.Fatal(err)
			}
			if reason, _ := recorded.Ready(object); reason != state.Reason {
				t.Fatalf("the recorded object is %q and not %q", reason, state.Reason)
			}
			result, err := status.Compute(object)
			if err != nil {
				t.Fatal(err)
			}
			if string(result.Status) != state.Kstatus {
				t.Errorf("kstatus says %s (%s) and not %s", result.Status, result.Message, state.Kstatus)
			}
		})
	}
}

// Nothing is recorded that no test looks at.
func TestEveryRecordIsLookedAt(t *testing.T) {
	known := map[string]bool{}
	for _, state := range recorded.States {
		known[state.Path()] = true
	}
	files, err := filepath.Glob(filepath.Join(recorded.Root(), "testdata", "*", "*.yaml"))
	if err != nil || len(files) != len(known) {
		t.Errorf("%d files, %d states: %v", len(files), len(known), err)
	}
	for _, file := range files {
		if !known[file] {
			t.Errorf("%s has no state", file)
		}
		text, err := os.ReadFile(file)
		if err != nil || strings.Contains(string(text), "managedFields") {
			t.Errorf("%s: %v", file, err)
		}
	}
}
