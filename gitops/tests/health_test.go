package tests

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"vaultsecret/gitops/tests/recorded"
)

var update = flag.Bool("update", false, "write health_test.yaml and argocd-cm.yaml anew")

// health is what a script answers.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// case_ is one of the cases of a health_test.yaml, as Argo CD's own tests read it.
type case_ struct {
	Health health `json:"healthStatus"`
	Input  string `json:"inputPath"`
}

// run calls a script in the machine that Argo CD makes for scripts out of argocd-cm: the base and table libraries and no other.
// The module argocd/ calls it in Argo CD's own.
func run(t *testing.T, script string, object *unstructured.Unstructured) health {
	t.Helper()
	machine := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer machine.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		call := lua.P{Fn: machine.NewFunction(open), Protect: true}
		if err := machine.CallByParam(call, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	machine.SetGlobal("obj", value(machine, object.Object))
	if err := machine.DoString(script); err != nil {
		t.Fatal(err)
	}
	answer, ok := machine.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script answers with %s", machine.Get(-1).Type())
	}
	return health{answer.RawGetString("status").String(), answer.RawGetString("message").String()}
}

func value(machine *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := machine.NewTable()
		for _, item := range from {
			table.Append(value(machine, item))
		}
		return table
	case map[string]any:
		table := machine.NewTable()
		for name, field := range from {
			table.RawSetString(name, value(machine, field))
		}
		return table
	}
	return lua.LNil
}

func script(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{recorded.Scripts()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestArgoSeesTheTruth(t *testing.T) {
	for _, state := range recorded.States {
		t.Run(state.String(), func(t *testing.T) {
			object, err := recorded.Read(state.Path())
			if err != nil {
				t.Fatal(err)
			}
			got := run(t, script(t, state.Kind, "health.lua"), object)
			if got.Status != state.Argo {
				t.Errorf("%+v, and not %s", got, state.Argo)
			}
			want := "waits for the operator"
			if reason, message := recorded.Ready(object); reason != "" && state.Name != "generation-behind" {
				want = reason + ": " + message
			}
			if got.Message != want {
				t.Errorf("it says %q and not %q", got.Message, want)
			}
		})
	}
}

// Objects that no operator of this version leaves behind, and that the scripts survive all the same.
func TestOddObjects(t *testing.T) {
	waits := health{"Progressing", "waits for the operator"}
	condition := func(kind, status, reason string) any {
		return map[string]any{"type": kind, "status": status, "reason": reason, "message": "why"}
	}
	observed := func(conditions ...any) any {
		return map[string]any{"observedGeneration": int64(2), "conditions": conditions}
	}
	for name, odd := range map[string]struct {
		status any
		want   health
	}{
		"no status":            {nil, waits},
		"empty status":         {map[string]any{}, waits},
		"no conditions":        {map[string]any{"observedGeneration": int64(2)}, waits},
		"no Ready":             {observed(condition("Pushed", "True", "Synced")), waits},
		"unknown":              {observed(condition("Ready", "Unknown", "ConnectionNotReady")), health{"Progressing", "ConnectionNotReady: why"}},
		"no longer stalled":    {observed(condition("Stalled", "False", "X"), condition("Ready", "False", "Queued")), health{"Progressing", "Queued: why"}},
		"stalled before Ready": {observed(condition("Stalled", "True", "X"), condition("Ready", "False", "X")), health{"Degraded", "X: why"}},
	} {
		t.Run(name, func(t *testing.T) {
			object := map[string]any{"metadata": map[string]any{"generation": int64(2)}, "spec": map[string]any{}}
			if odd.status != nil {
				object["status"] = odd.status
			}
			got := run(t, script(t, "VaultSecret", "health.lua"), &unstructured.Unstructured{Object: object})
			if got != odd.want {
				t.Errorf("%+v, and not %+v", got, odd.want)
			}
		})
	}
}

// Argo CD's own tests read these files; here they are kept in step with the states.
func TestHealthTestsAreInStep(t *testing.T) {
	kinds := map[string][]case_{}
	for _, state := range recorded.States {
		object, err := recorded.Read(state.Path())
		if err != nil {
			t.Fatal(err)
		}
		said := run(t, script(t, state.Kind, "health.lua"), object)
		kinds[state.Kind] = append(kinds[state.Kind],
			case_{health{state.Argo, said.Message}, "testdata/" + state.Name + ".yaml"})
	}
	for kind, cases := range kinds {
		inStep(t, filepath.Join(recorded.Scripts(), kind, "health_test.yaml"), map[string]any{"tests": cases})
	}
}

// argocd-cm.yaml is what to patch into Argo CD's ConfigMap: the scripts, under its keys.
func TestConfigMapIsInStep(t *testing.T) {
	data := map[string]string{}
	for _, kind := range []string{"VaultSecret", "ClusterVaultSecret", "VaultConnection", "ClusterVaultConnection"} {
		health := script(t, kind, "health.lua")
		if health != script(t, "VaultSecret", "health.lua") {
			t.Errorf("%s has a script of its own", kind)
		}
		data["resource.customizations.health."+recorded.Group+"_"+kind] = health
	}
	actions := map[string]any{
		"discovery.lua": script(t, "VaultSecret", "actions", "discovery.lua"),
		"definitions": []any{map[string]string{
			"name":       "force-push",
			"action.lua": script(t, "VaultSecret", "actions", "force-push", "action.lua"),
		}},
	}
	text, err := yaml.Marshal(actions)
	if err != nil {
		t.Fatal(err)
	}
	data["resource.customizations.actions."+recorded.Group+"_VaultSecret"] = string(text)
	inStep(t, filepath.Join(recorded.Root(), "argocd", "argocd-cm.yaml"), map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": data,
		"metadata": map[string]any{
			"name": "argocd-cm", "namespace": "argocd",
			"labels": map[string]string{"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"},
		},
	})
}

// inStep compares a file with what it should hold, or writes it.
func inStep(t *testing.T, path string, should any) {
	t.Helper()
	text, err := yaml.Marshal(should)
	if err != nil {
		t.Fatal(err)
	}
	text = append([]byte("# Written by `make gitops-update`. Do not edit.\n"), text...)
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	is, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(is, text) {
		t.Errorf("%s is stale: make gitops-update", path)
	}
}
