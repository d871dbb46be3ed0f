// Package recorded has the objects that record.py took from a real API server, and what GitOps tools are to make of each.
package recorded

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Group of the custom resources.
const Group = "vaultsecret.dev"

// State is how an object was when it was recorded, and how the tools are to see it.
type State struct {
	Kind, Name string
	// Reason of the condition Ready; empty where nobody has looked at the object yet.
	Reason string
	// Kstatus is Flux's word for it.
	Kstatus string
	// Argo is Argo CD's.
	Argo string
}

// Path of the recorded object.
func (s State) Path() string { return filepath.Join(Root(), "testdata", s.Kind, s.Name+".yaml") }

func (s State) String() string { return s.Kind + "/" + s.Name }

// States are all that is recorded.
//
// InProgress and Progressing: it goes on by itself, be it that somebody makes what is missing. Failed and Degraded: it does not,
// until somebody edits or approves something.
var States = []State{
	{"VaultSecret", "new", "", "InProgress", "Progressing"},
	{"VaultSecret", "synced", "Synced", "Current", "Healthy"},
	{"VaultSecret", "queued", "Queued", "InProgress", "Progressing"},
	{"VaultSecret", "pushing", "Pushing", "InProgress", "Progressing"},
	{"VaultSecret", "confirming", "Confirming", "InProgress", "Progressing"},
	{"VaultSecret", "source-missing", "SourceMissing", "InProgress", "Progressing"},
	{"VaultSecret", "connection-missing", "ConnectionMissing", "InProgress", "Progressing"},
	{"VaultSecret", "connection-not-ready", "ConnectionNotReady", "InProgress", "Progressing"},
	{"VaultSecret", "target-missing", "TargetMissing", "InProgress", "Progressing"},
	{"VaultSecret", "name-refused", "NameRefused", "Failed", "Degraded"},
	{"VaultSecret", "value-refused", "ValueRefused", "Failed", "Degraded"},
	{"VaultSecret", "remote-entry-exists", "RemoteEntryExists", "Failed", "Degraded"},
	{"VaultSecret", "owned-by-another", "OwnedByAnother", "Failed", "Degraded"},
	{"VaultSecret", "not-allowed", "NotAllowed", "Failed", "Degraded"},
	{"VaultSecret", "target-conflict", "TargetConflict", "Failed", "Degraded"},
	{"VaultSecret", "template-error", "TemplateError", "Failed", "Degraded"},
	{"VaultSecret", "frozen", "RemoteDiverged", "Failed", "Degraded"},
	// kstatus has no word for it; Flux's healthCheckExprs can (docs/gitops.md).
	{"VaultSecret", "suspended", "Suspended", "Failed", "Suspended"},
	{"VaultSecret", "deleting", "Deleting", "Terminating", "Progressing"},
	{"VaultSecret", "generation-behind", "Synced", "InProgress", "Progressing"},

	{"VaultConnection", "new", "", "InProgress", "Progressing"},
	{"VaultConnection", "connected", "Connected", "Current", "Healthy"},
	{"VaultConnection", "credentials-missing", "CredentialsMissing", "InProgress", "Progressing"},
	{"VaultConnection", "unreachable", "Unreachable", "InProgress", "Progressing"},
	{"VaultConnection", "authentication-failed", "AuthenticationFailed", "Failed", "Degraded"},
	{"VaultConnection", "frozen", "RemoteDiverged", "Failed", "Degraded"},
	{"VaultConnection", "generation-behind", "Connected", "InProgress", "Progressing"},

	{"ClusterVaultConnection", "new", "", "InProgress", "Progressing"},
	{"ClusterVaultConnection", "connected", "Connected", "Current", "Healthy"},
	{"ClusterVaultConnection", "credentials-missing", "CredentialsMissing", "InProgress", "Progressing"},
}

// Root is the folder gitops/.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Scripts is the folder of Argo CD's scripts, laid out as in its own repository.
func Scripts() string {
	return filepath.Join(Root(), "argocd", "resource_customizations", Group)
}

// Read reads an object in YAML or JSON.
func Read(path string) (*unstructured.Unstructured, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	// Whole numbers stay whole: kstatus takes a generation for nothing else.
	text, err = yaml.ToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return object, nil
}

// Ready is the reason and the message of the condition Ready.
func Ready(object *unstructured.Unstructured) (reason, message string) {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		if of, ok := condition.(map[string]any); ok && of["type"] == "Ready" {
			reason, _ = of["reason"].(string)
			message, _ = of["message"].(string)
		}
	}
	return reason, message
}
