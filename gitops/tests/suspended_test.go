package tests

import (
	"slices"
	"testing"

	kustomize "github.com/fluxcd/kustomize-controller/api/v1"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"vaultsecret/gitops/tests/recorded"
)

// The example's healthCheckExprs, as Flux evaluates them: what kstatus says, but that a suspended object holds nothing up.
func TestFluxIsToldOfSuspendedObjects(t *testing.T) {
	_, objects := documents(t, "flux/*.yaml")
	found := slices.IndexFunc(objects, func(one *unstructured.Unstructured) bool { return one.GetName() == "shop-secrets" })
	var of kustomize.Kustomization
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(objects[found].Object, &of); err != nil {
		t.Fatal(err)
	}
	if len(of.Spec.HealthCheckExprs) != 1 {
		t.Fatalf("%+v", of.Spec.HealthCheckExprs)
	}
	evaluator, err := cel.NewStatusEvaluator(&of.Spec.HealthCheckExprs[0].HealthCheckExpressions)
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range recorded.States {
		if state.Kind != "VaultSecret" {
			continue
		}
		object, err := recorded.Read(state.Path())
		if err != nil {
			t.Fatal(err)
		}
		want := state.Kstatus
		switch state.Name {
		case "suspended":
			want = "Current"
		case "deleting":
			// Expressions are asked before whether the object is going.
			want = "InProgress"
		}
		got, err := evaluator.Evaluate(t.Context(), object)
		if err != nil || string(got.Status) != want {
			t.Errorf("%s: %+v, and not %s: %v", state, got, want, err)
		}
	}
}
