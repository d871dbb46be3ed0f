//! The custom resources: types only. Field names are fixed; what the schema or CEL can refuse, they refuse.

pub mod cluster_vault_secret;
pub mod condition;
pub mod connection;
pub mod data_from;
pub mod duration;
pub mod http;
pub mod names;
pub mod target;
pub mod value;
pub mod vault_provider;
pub mod vault_secret;

pub use cluster_vault_secret::{ClusterVaultSecret, ClusterVaultSecretSpec, ClusterVaultSecretStatus};
pub use condition::{ClusterReason, ConnectionReason, NamespaceReason, Reason};
pub use connection::{ClusterVaultConnection, ConnectionSpec, ConnectionStatus, VaultConnection};
pub use vault_secret::{VaultSecret, VaultSecretSpec, VaultSecretStatus};
