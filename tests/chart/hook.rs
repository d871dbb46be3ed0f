//! What the Job after an uninstall is rendered with. What it does is looked at in uninstall.rs.

use serde_json::{Value, json};

use crate::helm::{hooks_with, of_kind, render_all, rendered, values};

/// Nothing of it is there before `helm uninstall`, and nothing afterwards; but for rights in listed namespaces, which cannot be made
/// where a namespace is gone.
#[test]
fn all_of_it_belongs_to_the_hook() {
    for set in ["default", "namespaced", "everything"] {
        let hooks = hooks_with(set);
        assert!(of_kind(&hooks, "Job").len() == 1 && !of_kind(&hooks, "Role").is_empty(), "{set}");
        for hook in &hooks {
            let note = |name: &str| hook["metadata"]["annotations"][name].as_str().unwrap().to_owned();
            assert_eq!(note("helm.sh/hook"), "post-delete");
            assert_eq!(note("helm.sh/hook-delete-policy"), "before-hook-creation,hook-succeeded");
            // Rights first.
            assert_eq!(note("helm.sh/hook-weight"), if hook["kind"] == "Job" { "10" } else { "0" });
        }
        let spec = of_kind(&hooks, "Job")[0].pointer("/spec/template/spec").unwrap();
        let context = &spec["containers"][0]["securityContext"];
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(
            (&context["readOnlyRootFilesystem"], &context["allowPrivilegeEscalation"]),
            (&json!(true), &json!(false))
        );
    }
    let all = render_all(&["--values", &values("namespaced")]);
    for document in
        all.iter().filter(|document| ["shop", "blog"].map(Value::from).contains(&document["metadata"]["namespace"]))
    {
        assert!(document["metadata"]["annotations"]["helm.sh/hook"].is_null(), "{document}");
    }
    let off = rendered(&["--values", &values("default"), "--set", "uninstall.releaseFinalizers=false"]).unwrap();
    assert!(!off.contains("release-finalizers"));
}

/// The right to give up the Lease goes before the operator: the Job waits until it has run out, and the Job's time is longer.
#[test]
fn the_job_outwaits_the_lease() {
    for (set, wait) in [
        ("operator.leaseDuration=30s", 120),
        ("operator.leaseDuration=1m", 120),
        ("operator.leaseDuration=2m30s", 210),
        ("operator.leaseDuration=5m", 360),
        ("operator.leaseDuration=1h", 3660),
        ("terminationGracePeriodSeconds=600", 630),
    ] {
        let all = render_all(&["--set", set]);
        let spec = &of_kind(&all, "Job")[0]["spec"];
        let args = spec.pointer("/template/spec/containers/0/args").unwrap().as_array().unwrap();
        assert!(args.contains(&json!(format!("--wait={wait}s"))), "{set}: {args:?}");
        assert_eq!(spec["activeDeadlineSeconds"], json!(wait + 160), "{set}");
    }
}

/// A Job whose account may do nothing would fail every uninstall.
#[test]
fn there_is_no_job_without_rights_unless_they_are_given() {
    let with = |more: &[&str]| {
        let all = render_all(&[&["--set", "rbac.create=false"], more].concat());
        ["Job", "Role", "RoleBinding", "ClusterRole"].map(|kind| of_kind(&all, kind).len())
    };
    assert_eq!(with(&[]), [0, 0, 0, 0]);
    assert_eq!(with(&["--set", "watch.namespaces={shop}"]), [0, 0, 0, 0]);
    assert_eq!(with(&["--set", "uninstall.ownRbac=true"]), [1, 0, 0, 0]);
}
