//! `vaultsecret seal`: encrypts a value that only the operator opens, and only for one key of one VaultSecret.

mod cluster;
mod manifest;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use self::cluster::Cluster;
use self::manifest::Found;
use super::{Exit, fail, print, values};
use crate::source::sealed::{
    MAX_SEALED, MAX_VALUE, OpenError, Recipient, Ring, Scope, identities, recipient, recipients, seal,
};
use crate::value::SecretValue;

/// The largest manifest that is read.
const MAX_MANIFEST: usize = 64 << 20;

/// Flags of `vaultsecret seal`. Each is an environment variable too.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The value comes from standard input or --from-file, as it is, and never from an argument. What is \
    printed goes into spec.data[].valueFrom.sealed. Exit codes: 0 done, 1 failed, 2 a sealed value would be refused, 64 usage.\n\n\
    Examples:\n  \
    printf %s \"$TOKEN\" | vaultsecret seal -n shop --name checkout --key TOKEN -o yaml\n  \
    vaultsecret seal -n shop --name checkout --key CERT --from-file tls.crt --recipient age1…\n  \
    vaultsecret seal --validate -f checkout.yaml\n  \
    vaultsecret seal --rewrap -f checkout.yaml --in-place"
)]
pub struct SealArgs {
    /// Namespace of the VaultSecret. Default: that of the kubeconfig's context; needed with --recipient and the like
    #[arg(short, long, env = "VAULTSECRET_NAMESPACE", value_name = "NAMESPACE", value_parser = values::namespace)]
    namespace: Option<String>,

    /// Name of the VaultSecret
    #[arg(long, env = "VAULTSECRET_NAME", value_name = "NAME", conflicts_with = "filename")]
    name: Option<String>,

    /// Key in its spec.data
    #[arg(long, env = "VAULTSECRET_KEY", value_name = "KEY", conflicts_with = "filename")]
    key: Option<String>,

    /// File with the value; with --rewrap and --validate, with the sealed value. Default: standard input
    #[arg(long, env = "VAULTSECRET_FROM_FILE", value_name = "FILE", conflicts_with = "filename")]
    from_file: Option<PathBuf>,

    /// Recipient to seal to, age1…; may come several times. Default: the operator's newest, from the cluster
    #[arg(long, env = "VAULTSECRET_RECIPIENT", value_name = "RECIPIENT", value_delimiter = ',')]
    recipient: Vec<String>,

    /// File with recipients to seal to, one a line
    #[arg(long, env = "VAULTSECRET_RECIPIENTS_FILE", value_name = "FILE")]
    recipients_file: Option<PathBuf>,

    /// File with the identities to open with, as age-keygen writes it. Default: the operator's, from the cluster
    #[arg(long, env = "VAULTSECRET_IDENTITY_FILE", value_name = "FILE")]
    identity_file: Option<PathBuf>,

    /// The operator's namespace
    #[arg(long, env = "VAULTSECRET_OPERATOR_NAMESPACE", value_name = "NAMESPACE", value_parser = values::namespace,
        default_value = "vaultsecret-system")]
    operator_namespace: String,

    /// Say whether sealed values would be opened where they are for, without showing them
    #[arg(long, env = "VAULTSECRET_VALIDATE", value_parser = FalseyValueParser::new(), group = "mode")]
    validate: bool,

    /// Encrypt sealed values anew, to the newest recipient
    #[arg(long, env = "VAULTSECRET_REWRAP", value_parser = FalseyValueParser::new(), group = "mode")]
    rewrap: bool,

    /// Add a new identity to the operator's, to seal to from then on, and print its recipient
    #[arg(long, env = "VAULTSECRET_ADD_IDENTITY", value_parser = FalseyValueParser::new(), group = "mode",
        conflicts_with_all = ["namespace", "name", "key", "from_file", "recipient", "recipients_file", "identity_file"])]
    add_identity: bool,

    /// File with manifests (`-`: standard input), all of whose sealed values are validated or rewrapped
    #[arg(
        short,
        long,
        env = "VAULTSECRET_FILENAME",
        value_name = "FILE",
        requires = "mode",
        conflicts_with = "add_identity"
    )]
    filename: Option<PathBuf>,

    /// Change the file that --filename names, instead of printing
    #[arg(long, env = "VAULTSECRET_IN_PLACE", value_parser = FalseyValueParser::new(), requires = "filename",
        conflicts_with = "validate")]
    in_place: bool,

    /// What is printed: the sealed value alone, or its entry of spec.data
    #[arg(short, long, env = "VAULTSECRET_OUTPUT", value_enum, default_value_t = Output::Text,
        conflicts_with_all = ["filename", "validate", "add_identity"])]
    output: Output,

    /// What does not belong there; taken only in order not to be repeated in an error
    #[arg(hide = true, num_args = 0..)]
    stray: Vec<std::ffi::OsString>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The sealed value alone
    Text,
    /// An entry of `spec.data`
    Yaml,
}

/// Why it did not come to an end.
enum Stop {
    /// Called in a way that makes no sense.
    Usage(String),
    /// Failed.
    Failed(anyhow::Error),
    /// Sealed values that would be refused, a line each.
    Refused(Vec<String>),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Does it, and says what it came to.
pub(super) fn run(args: SealArgs) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(carry_out(&args)) {
        Ok(()) => Exit::Done,
        Err(Stop::Failed(error)) => fail(&error),
        Err(Stop::Usage(text)) => {
            fail(&anyhow::anyhow!(text));
            Exit::Usage
        }
        Err(Stop::Refused(lines)) => {
            for line in lines {
                say(&line);
            }
            Exit::Attention
        }
    }
}

async fn carry_out(args: &SealArgs) -> Result<(), Stop> {
    if !args.stray.is_empty() {
        let text = "no value is taken from an argument, where others can see it: give it on standard input or with --from-file";
        return Err(Stop::Usage(text.to_owned()));
    }
    if args.add_identity {
        let (id, added) = Cluster::connect(&args.operator_namespace).await?.add_identity().await?;
        say(&format!("added identity {id}; the older ones still open what was sealed to them"));
        return Ok(print(&format!("{added}\n"))?);
    }
    if !args.validate && !args.rewrap {
        return seal_one(args).await;
    }
    // Where the ring is read from a file, the cluster is asked for nothing that the flags say.
    let (ring, cluster) = match &args.identity_file {
        Some(file) => (ring_of(file)?, None),
        None => {
            let cluster = Cluster::connect(&args.operator_namespace).await?;
            (cluster.ring().await?, Some(cluster))
        }
    };
    let namespace = args.namespace.as_deref().or(cluster.as_ref().map(|c| c.default_namespace.as_str()));
    match &args.filename {
        Some(file) => manifests(args, &ring, cluster.as_ref(), namespace, file).await,
        None => single(args, &ring, cluster.as_ref(), namespace).await,
    }
}

/// Seals a value.
async fn seal_one(args: &SealArgs) -> Result<(), Stop> {
    let offline = given_recipients(args)?;
    let (to, namespace) = if offline.is_empty() {
        let cluster = Cluster::connect(&args.operator_namespace).await?;
        let namespace = args.namespace.clone().unwrap_or_else(|| cluster.default_namespace.clone());
        let scope = scope(args, Some(&namespace))?;
        (vec![cluster.newest_recipient().await?], scope)
    } else {
        (offline, scope(args, args.namespace.as_deref())?)
    };
    let value = read_input(args.from_file.as_deref(), MAX_VALUE)?;
    if value.expose().ends_with(b"\n") {
        say("note: the value ends with a line break, which is sealed with it");
    }
    let text = seal(&to, &namespace, value.expose()).map_err(anyhow::Error::from)?;
    Ok(print(&show(args.output, namespace.key(), &text))?)
}

/// Validates or rewraps one sealed value.
async fn single(args: &SealArgs, ring: &Ring, cluster: Option<&Cluster>, namespace: Option<&str>) -> Result<(), Stop> {
    let scope = scope(args, namespace)?;
    let input = read_input(args.from_file.as_deref(), MAX_SEALED)?;
    // A file may have been through an editor of another system.
    let sealed = input.expose_str().unwrap_or_default().replace("\r\n", "\n");
    let found = Found { scope, sealed };
    if args.validate {
        return validate(ring, &[found]);
    }
    let to = rewrap_to(args, ring, cluster).await?;
    let text = rewrap(ring, &to, &found)?;
    Ok(print(&show(args.output, found.scope.key(), &text))?)
}

/// Validates or rewraps what is in manifests.
async fn manifests(
    args: &SealArgs,
    ring: &Ring,
    cluster: Option<&Cluster>,
    namespace: Option<&str>,
    file: &Path,
) -> Result<(), Stop> {
    let from = (file != Path::new("-")).then_some(file);
    let input = read_input(from, MAX_MANIFEST)?;
    let text = input.expose_str().context("the manifests are not UTF-8")?;
    let found = manifest::find(text, namespace).map_err(|error| match error {
        manifest::ManifestError::NoNamespace { .. } => Stop::Usage(error.to_string()),
        _ => Stop::Failed(error.into()),
    })?;
    if found.is_empty() {
        say("note: there is no sealed value in it");
    }
    if args.validate {
        return validate(ring, &found);
    }
    let to = rewrap_to(args, ring, cluster).await?;
    let mut changes = Vec::with_capacity(found.len());
    let mut refused = Vec::new();
    for one in &found {
        match rewrap(ring, &to, one) {
            Ok(new) => changes.push((one.clone(), new)),
            Err(Stop::Refused(lines)) => refused.extend(lines),
            Err(other) => return Err(other),
        }
    }
    if !refused.is_empty() {
        refused.push("nothing was changed".to_owned());
        return Err(Stop::Refused(refused));
    }
    let new = manifest::replace(text, namespace, &changes).map_err(anyhow::Error::from)?;
    match from.filter(|_| args.in_place) {
        Some(path) => Ok(write_in_place(path, &new)?),
        None if args.in_place => Err(Stop::Usage("--in-place needs a file".to_owned())),
        None => Ok(print(&new)?),
    }
}

/// Says of each whether it would be opened.
fn validate(ring: &Ring, found: &[Found]) -> Result<(), Stop> {
    let newest = ring.recipients().next().map(|(id, _)| id.to_owned()).unwrap_or_default();
    let mut refused = Vec::new();
    let mut good = String::new();
    for Found { scope, sealed } in found {
        match ring.open(scope, sealed) {
            Ok((_, id)) if id == newest => good.push_str(&format!("{scope}: opens\n")),
            Ok((_, id)) => good.push_str(&format!("{scope}: opens, with the older identity {id}\n")),
            Err(error) => refused.push(refusal(scope, &error)),
        }
    }
    print(&good)?;
    if refused.is_empty() { Ok(()) } else { Err(Stop::Refused(refused)) }
}

fn rewrap(ring: &Ring, to: &[Recipient], found: &Found) -> Result<String, Stop> {
    let (value, _) =
        ring.open(&found.scope, &found.sealed).map_err(|error| Stop::Refused(vec![refusal(&found.scope, &error)]))?;
    Ok(seal(to, &found.scope, value.expose()).map_err(anyhow::Error::from)?)
}

fn refusal(scope: &Scope, error: &OpenError) -> String {
    format!("{scope}: {error}")
}

/// What is rewrapped is sealed to the flags' recipients, else to the newest of the operator's.
async fn rewrap_to(args: &SealArgs, ring: &Ring, cluster: Option<&Cluster>) -> Result<Vec<Recipient>, Stop> {
    let given = given_recipients(args)?;
    if !given.is_empty() {
        return Ok(given);
    }
    if cluster.is_some() {
        return Ok(vec![ring.newest()]);
    }
    Ok(vec![Cluster::connect(&args.operator_namespace).await?.newest_recipient().await?])
}

fn scope(args: &SealArgs, namespace: Option<&str>) -> Result<Scope, Stop> {
    let needed =
        |what: &str| Stop::Usage(format!("{what} is needed: a value is sealed for one key of one VaultSecret"));
    let namespace = namespace.ok_or_else(|| needed("--namespace"))?;
    let name = args.name.as_deref().ok_or_else(|| needed("--name"))?;
    let key = args.key.as_deref().ok_or_else(|| needed("--key"))?;
    Scope::new(namespace, name, key).map_err(|error| Stop::Usage(error.to_string()))
}

fn given_recipients(args: &SealArgs) -> Result<Vec<Recipient>, Stop> {
    // Read here and not by the parser of arguments, which would repeat an identity that was given by mistake.
    let read = args.recipient.iter().map(|text| recipient(text)).collect::<Result<Vec<_>, _>>();
    let mut all = read.map_err(|why| Stop::Usage(format!("--recipient: {why}")))?;
    if let Some(file) = &args.recipients_file {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let read = recipients(&text).map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))?;
        if read.is_empty() {
            return Err(Stop::Failed(anyhow::anyhow!("{} holds no recipient", file.display())));
        }
        all.extend(read);
    }
    let mut seen = std::collections::HashSet::new();
    all.retain(|one| seen.insert(one.clone()));
    Ok(all)
}

fn ring_of(file: &Path) -> anyhow::Result<Ring> {
    let text = read_input(Some(file), MAX_MANIFEST)?;
    let text = text.expose_str().context("the identities are not text")?;
    let found = identities(text).with_context(|| format!("reading {}", file.display()))?;
    let numbered = found.into_iter().enumerate().map(|(i, identity)| (format!("{} of the file", i + 1), identity));
    Ring::new(numbered.collect()).with_context(|| format!("{} holds no identity", file.display()))
}

/// Reads a file, or standard input; more than `limit` bytes are too many.
fn read_input(file: Option<&Path>, limit: usize) -> anyhow::Result<SecretValue> {
    // One byte more than is taken tells that it is too much; room from the start leaves no copies behind.
    let mut bytes = Vec::with_capacity(if limit > MAX_SEALED { 4096 } else { limit + 64 });
    let most = limit as u64 + 1;
    let what = match file {
        Some(path) => {
            let opened = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
            opened.take(most).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
            path.display().to_string()
        }
        None => {
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                say("reading from the terminal; Ctrl-D ends it");
            }
            stdin.lock().take(most).read_to_end(&mut bytes).context("reading standard input")?;
            "standard input".to_owned()
        }
    };
    let value = SecretValue::new(bytes);
    anyhow::ensure!(value.len() <= limit, "{what} has more than the {limit} bytes that are taken");
    Ok(value)
}

/// The sealed value as it is asked for.
fn show(output: Output, key: &str, sealed: &str) -> String {
    match output {
        Output::Text => sealed.to_owned(),
        // Quoted, because `on` and `1` are keys too.
        Output::Yaml => {
            let mut text = format!("- key: \"{key}\"\n  valueFrom:\n    sealed: |\n");
            for line in sealed.lines() {
                text.push_str(&format!("      {line}\n"));
            }
            text
        }
    }
}

/// Replaces a file as a whole: whoever reads it sees the old one or the new one.
fn write_in_place(path: &Path, text: &str) -> anyhow::Result<()> {
    let path = path.canonicalize().with_context(|| format!("finding {}", path.display()))?;
    let doing = || format!("writing {}", path.display());
    let folder = path.parent().with_context(doing)?;
    let name = path.file_name().with_context(doing)?.to_string_lossy();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let written = std::fs::write(&beside, text)
        .and_then(|()| std::fs::set_permissions(&beside, std::fs::metadata(&path)?.permissions()))
        .and_then(|()| std::fs::rename(&beside, &path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written.with_context(doing)
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
