package tests

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	helm "github.com/fluxcd/helm-controller/api/v2"
	kustomize "github.com/fluxcd/kustomize-controller/api/v1"
	source "github.com/fluxcd/source-controller/api/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"

	"vaultsecret/gitops/tests/recorded"
)

// documents reads every object of the files.
func documents(t *testing.T, patterns ...string) (texts [][]byte, objects []*unstructured.Unstructured) {
	t.Helper()
	var files []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(recorded.Root(), filepath.FromSlash(pattern)))
		if err != nil || len(found) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		decoder := yaml.NewYAMLToJSONDecoder(bytes.NewReader(text))
		for {
			object := &unstructured.Unstructured{}
			err := decoder.Decode(&object.Object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if len(object.Object) == 0 {
				continue
			}
			json, err := object.MarshalJSON()
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			texts, objects = append(texts, json), append(objects, object)
		}
	}
	return texts, objects
}

// Every field of the examples is one that Flux knows.
func TestFluxTakesTheExamples(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{core.AddToScheme, helm.AddToScheme, kustomize.AddToScheme, source.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	strict := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	texts, objects := documents(t, "flux/*.yaml", "flux/operator/*.yaml")
	for i, text := range texts {
		if _, _, err := strict.Decode(text, nil, nil); err != nil {
			t.Errorf("%s %s: %v", objects[i].GetKind(), objects[i].GetName(), err)
		}
	}
}

// Each Kustomization comes after the one before, waits until its own objects are as they should be, and has a folder.
func TestFluxGoesInAnOrder(t *testing.T) {
	_, objects := documents(t, "flux/*.yaml")
	order := []string{"vaultsecret-operator", "shop-connections", "shop-secrets", "shop"}
	if len(objects) != len(order) {
		t.Fatalf("%d Kustomizations", len(objects))
	}
	for i, object := range objects {
		var after []string
		of, _, _ := unstructured.NestedSlice(object.Object, "spec", "dependsOn")
		for _, one := range of {
			after = append(after, one.(map[string]any)["name"].(string))
		}
		if object.GetName() != order[i] || !slices.Equal(after, order[max(i-1, 0):i]) {
			t.Errorf("%s comes after %v", object.GetName(), after)
		}
		if wait, _, _ := unstructured.NestedBool(object.Object, "spec", "wait"); !wait {
			t.Errorf("%s does not wait, so nobody can wait for it", object.GetName())
		}
		path, _, _ := unstructured.NestedString(object.Object, "spec", "path")
		if _, err := os.Stat(filepath.Join(recorded.Root(), "..", path)); err != nil {
			t.Error(err)
		}
	}
}

// The folder that Argo CD takes as a whole has the same order in waves: whatever an object needs to be Ready, and to be deleted, is
// in an earlier wave, and the credentials that a VaultSecret opens for a connection are in the connection's own.
func TestWavesGoInTheSameOrder(t *testing.T) {
	const wave = "argocd.argoproj.io/sync-wave"
	_, objects := documents(t, "example/*/*.yaml")
	waves := map[string]string{}
	for _, object := range objects {
		waves[object.GetKind()+"/"+object.GetName()] = object.GetAnnotations()[wave]
	}
	want := map[string]string{
		"Namespace/shop": "", "VaultConnection/kelvin": "", "VaultSecret/kelvin-credentials": "",
		"VaultSecret/checkout": "1", "Deployment/checkout": "2",
	}
	if !maps.Equal(waves, want) {
		t.Errorf("%v", waves)
	}
}
