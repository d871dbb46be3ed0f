package argocd

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/health"
	argo "github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"vaultsecret/gitops/tests/recorded"
)

// overrides are what Argo CD reads out of its ConfigMap with argocd-cm.yaml patched in.
func overrides(t *testing.T) map[string]argo.ResourceOverride {
	t.Helper()
	object, err := recorded.Read(filepath.Join(recorded.Root(), "argocd", "argocd-cm.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]argo.ResourceOverride{}
	for key, text := range data {
		part := strings.SplitN(key, ".", 4)
		of := strings.ReplaceAll(part[3], "_", "/")
		override := all[of]
		switch part[2] {
		case "health":
			override.HealthLua = text
		case "actions":
			override.Actions = text
		default:
			t.Fatalf("%s is nothing that these tests know", key)
		}
		all[of] = override
	}
	return all
}

func TestHealth(t *testing.T) {
	all := lua.ResourceHealthOverrides(overrides(t))
	for _, state := range recorded.States {
		t.Run(state.String(), func(t *testing.T) {
			object, err := recorded.Read(state.Path())
			if err != nil {
				t.Fatal(err)
			}
			got, err := health.GetResourceHealth(object, all)
			if err != nil || string(got.Status) != state.Argo {
				t.Errorf("%+v, and not %s: %v", got, state.Argo, err)
			}
		})
	}
}

// A kind that is installed on request has the same conditions and the same script.
func TestHealthOfClusterVaultSecret(t *testing.T) {
	object, err := recorded.Read(recorded.State{Kind: "VaultSecret", Name: "synced"}.Path())
	if err != nil {
		t.Fatal(err)
	}
	object.SetKind("ClusterVaultSecret")
	got, err := health.GetResourceHealth(object, lua.ResourceHealthOverrides(overrides(t)))
	if err != nil || got == nil || got.Status != health.HealthStatusHealthy {
		t.Errorf("%+v: %v", got, err)
	}
}

func TestForcePush(t *testing.T) {
	machine := lua.VM{ResourceOverrides: overrides(t)}
	for name, disabled := range map[string]bool{"synced": false, "queued": false, "suspended": true, "deleting": true} {
		object, err := recorded.Read(recorded.State{Kind: "VaultSecret", Name: name}.Path())
		if err != nil {
			t.Fatal(err)
		}
		discovery, err := machine.GetResourceActionDiscovery(object)
		if err != nil {
			t.Fatal(err)
		}
		actions, err := machine.ExecuteResourceActionDiscovery(object, discovery)
		if err != nil || len(actions) != 1 || actions[0].Name != "force-push" || actions[0].Disabled != disabled {
			t.Errorf("%s: %+v: %v", name, actions, err)
		}
	}
	object, err := recorded.Read(recorded.State{Kind: "VaultSecret", Name: "synced"}.Path())
	if err != nil {
		t.Fatal(err)
	}
	for _, annotations := range []map[string]string{nil, {"team": "shop"}} {
		object.SetAnnotations(annotations)
		action, err := machine.GetResourceAction(object, "force-push")
		if err != nil {
			t.Fatal(err)
		}
		changed, err := machine.ExecuteResourceAction(object.DeepCopy(), action.ActionLua, nil)
		if err != nil || len(changed) != 1 {
			t.Fatalf("%+v: %v", changed, err)
		}
		got := changed[0].UnstructuredObj.GetAnnotations()
		if got["vaultsecret.dev/force-push"] == "" || got["team"] != annotations["team"] {
			t.Errorf("%v", got)
		}
	}
}
