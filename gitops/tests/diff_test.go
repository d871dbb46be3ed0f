package tests

import (
	"path/filepath"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"vaultsecret/gitops/tests/recorded"
)

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

func recordedDiff(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	object, err := recorded.Read(filepath.Join(recorded.Root(), "testdata", "diff", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return object
}

// Whoever compares, and however: what the API server has is to the letter what was applied, after either way of applying it. No
// default is filled in, no duration, number, empty map or order is changed. The module argocd/ asks Argo CD's own code.
func TestNothingIsAddedToWhatIsInGit(t *testing.T) {
	for _, kind := range []string{"VaultSecret", "VaultConnection", "ClusterVaultConnection"} {
		for _, way := range []string{"client-side", "server-side", "predicted"} {
			t.Run(kind+"/"+way, func(t *testing.T) {
				desired, live := recordedDiff(t, kind+".desired"), recordedDiff(t, kind+"."+way)
				if !reflect.DeepEqual(desired.Object["spec"], live.Object["spec"]) {
					t.Errorf("desired: %v\nlive:    %v", desired.Object["spec"], live.Object["spec"])
				}
				if !reflect.DeepEqual(desired.GetLabels(), live.GetLabels()) {
					t.Errorf("labels: %v", live.GetLabels())
				}
				annotations := live.GetAnnotations()
				if _, there := annotations[lastApplied]; there != (way == "client-side") {
					t.Errorf("it was not applied that way: %v", annotations)
				}
				delete(annotations, lastApplied)
				if !reflect.DeepEqual(desired.GetAnnotations(), annotations) {
					t.Errorf("annotations: %v", annotations)
				}
				for _, field := range []string{"finalizers", "ownerReferences"} {
					if of, there, _ := unstructured.NestedSlice(live.Object, "metadata", field); there {
						t.Errorf("%s: %v", field, of)
					}
				}
			})
		}
	}
}

// The operator owns no field but those of the status, so nobody conflicts with it.
func TestOperatorOwnsTheStatusAlone(t *testing.T) {
	for _, kind := range []string{"VaultSecret", "VaultConnection", "ClusterVaultConnection"} {
		for _, way := range []string{"client-side", "server-side"} {
			found := false
			for _, of := range recordedDiff(t, kind+"."+way).GetManagedFields() {
				if of.Manager == "vaultsecret-operator" {
					found = true
					if of.Subresource != "status" {
						t.Errorf("%s %s: %+v", kind, way, of)
					}
				}
			}
			if !found {
				t.Errorf("%s %s: the operator wrote nothing at all", kind, way)
			}
		}
	}
}
