//! Names that are part of the interface: group, labels, annotations, finalizer.

/// API group of the custom resources.
pub const GROUP: &str = "vaultsecret.dev";

/// Name of the operator: field manager, event reporter, `app.kubernetes.io/managed-by`.
pub const OPERATOR: &str = "vaultsecret-operator";

/// Finalizer of a VaultSecret; set only under `deletionPolicy: Delete`.
pub const FINALIZER: &str = "vaultsecret.dev/cleanup";

/// Field manager of the VaultSecrets that are made for a ClusterVaultSecret.
pub const CLUSTER_MANAGER: &str = "vaultsecret-operator-clustervaultsecret";

/// Annotation on a VaultSecret: every new value pushes all entries once.
pub const FORCE_PUSH: &str = "vaultsecret.dev/force-push";

/// Annotation on a VaultSecret or a connection: takes over entries that are refused at that moment.
pub const ADOPT: &str = "vaultsecret.dev/adopt";

/// Annotation on a connection: `<token>=same` or `<token>=new` releases a freeze.
pub const APPROVE: &str = "vaultsecret.dev/approve";

/// Annotation on a Secret that the operator made: `<VaultSecret name>/<uid>` it was made for.
pub const MADE_FOR: &str = "vaultsecret.dev/made-for";

/// Annotation on an escrow Secret: which values it holds, for which entries they were made.
pub const ESCROW_INDEX: &str = "vaultsecret.dev/escrow-index";

/// Prefix of the annotation that restarts a workload: its name is that of the VaultSecret, its value names a set of values.
pub const RESTART_PREFIX: &str = "restart.vaultsecret.dev/";

/// Label on every Secret that the operator made: `target`, `escrow`, `key-ring` or `sealing`.
pub const ROLE: &str = "vaultsecret.dev/role";

/// The usual label that says who manages an object; its value is [`OPERATOR`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Name of the Secret with the fingerprint keys, in the operator's namespace.
pub const KEY_RING: &str = "vaultsecret-key-ring";

/// Name of the Secret with the identities that open sealed values, in the operator's namespace.
pub const SEALING_IDENTITIES: &str = "vaultsecret-sealing-identities";

/// Name of the ConfigMap with their recipients, beside it, for everybody to read.
pub const SEALING_RECIPIENTS: &str = "vaultsecret-sealing-recipients";

/// Key in that ConfigMap of the recipient that is to be sealed to.
pub const NEWEST_RECIPIENT: &str = "newest";

/// Secret types that give rights to whoever makes them; never made.
pub const PRIVILEGED_TYPES: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];
