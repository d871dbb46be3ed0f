package argocd

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	openapi "github.com/google/gnostic-models/openapiv2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/util/proto"

	"vaultsecret/gitops/tests/recorded"
)

// The name under which Argo CD applies on the server's side.
const manager = "argocd-controller"

func object(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	object, err := recorded.Read(filepath.Join(recorded.Root(), "testdata", "diff", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// types are the schemas as the API server published them.
func types(t *testing.T) *managedfields.GvkParser {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(recorded.Root(), "testdata", "diff", "openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := openapi.ParseDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	models, err := proto.NewOpenAPIData(document)
	if err != nil {
		t.Fatal(err)
	}
	parser, err := managedfields.NewGVKParser(models, false)
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

// said answers for the API server with what it said when the object was recorded.
type said string

func (s said) Run(context.Context, *unstructured.Unstructured, string) (string, error) {
	return string(s), nil
}

// What stands in Git and what the API server has of it are the same to Argo CD, however it compares them, and without any rule of
// what is to be ignored: no default is filled in, no duration, number, empty map or order is changed, and the operator writes to
// nothing but the status.
func TestNoPerpetualDifference(t *testing.T) {
	parser := types(t)
	for _, kind := range []string{"VaultSecret", "VaultConnection", "ClusterVaultConnection"} {
		predicted, err := object(t, kind+".predicted").MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		for name, way := range map[string]struct {
			live    string
			options []diff.Option
		}{
			"client-side, three ways":         {"client-side", nil},
			"client-side, two ways":           {"server-side", nil},
			"structured merge, after client":  {"client-side", []diff.Option{diff.WithStructuredMergeDiff(true)}},
			"structured merge, after server":  {"server-side", []diff.Option{diff.WithStructuredMergeDiff(true)}},
			"server-side":                     {"server-side", []diff.Option{diff.WithServerSideDiff(true), diff.WithServerSideDryRunner(said(predicted))}},
			"server-side, mutations included": {"server-side", []diff.Option{diff.WithServerSideDiff(true), diff.WithServerSideDryRunner(said(predicted)), diff.WithIgnoreMutationWebhook(false)}},
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				options := append(way.options, diff.WithGVKParser(parser), diff.WithManager(manager))
				desired, live := object(t, kind+".desired"), object(t, kind+"."+way.live)
				same, err := diff.Diff(desired, live, options...)
				if err != nil {
					t.Fatal(err)
				}
				if same.Modified {
					t.Errorf("live:    %s\ndesired: %s", same.NormalizedLive, same.PredictedLive)
				}
			})
		}
	}
}

// What is a difference is seen, so the test above says something.
func TestDifferenceIsSeen(t *testing.T) {
	parser := types(t)
	for name, options := range map[string][]diff.Option{
		"client-side": nil, "structured merge": {diff.WithStructuredMergeDiff(true)},
	} {
		desired := object(t, "VaultSecret.desired")
		if err := unstructured.SetNestedField(desired.Object, "24h", "spec", "reassertInterval"); err != nil {
			t.Fatal(err)
		}
		options = append(options, diff.WithGVKParser(parser), diff.WithManager(manager))
		changed, err := diff.Diff(desired, object(t, "VaultSecret.client-side"), options...)
		if err != nil || !changed.Modified {
			t.Errorf("%s: another spelling in Git is another value there: %v", name, err)
		}
	}
	live := object(t, "VaultSecret.server-side")
	if err := unstructured.SetNestedField(live.Object, true, "spec", "suspend"); err != nil {
		t.Fatal(err)
	}
	predicted, err := object(t, "VaultSecret.predicted").MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	changed, err := diff.Diff(object(t, "VaultSecret.desired"), live, diff.WithServerSideDiff(true),
		diff.WithServerSideDryRunner(said(predicted)), diff.WithGVKParser(parser), diff.WithManager(manager))
	if err != nil || !changed.Modified {
		t.Errorf("server-side: somebody suspended it: %v", err)
	}
}
