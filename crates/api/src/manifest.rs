//! The documents as they are written: names, shapes and nothing else. What they mean is decided
//! where offers are made of them.

use crate::{
    fault::Faults,
    node::{Node, Value},
    read::{Fields, Read, choice, record},
    suggest::did_you_mean,
};

pub use crate::read::{Decimal, Entry, Ignored, Located, Map};

pub const API_VERSION: &str = "obol.org/v1alpha1";

record! {
    /// A document of kind `ServiceOffer`.
    pub ServiceOffer {
        api_version: String = "apiVersion",
        kind: String = "kind",
        metadata: Metadata = "metadata",
        spec: Spec = "spec",
        /// Kubernetes' own, in an exported document.
        status: Ignored = "status",
    }

    pub Metadata {
        name: String = "name",
        namespace: String = "namespace",
        labels: Map<String> = "labels",
        annotations: Map<String> = "annotations",
        /// This and what follows is Kubernetes' own, in an exported document.
        uid: Ignored = "uid",
        resource_version: Ignored = "resourceVersion",
        generation: Ignored = "generation",
        creation_timestamp: Ignored = "creationTimestamp",
        deletion_timestamp: Ignored = "deletionTimestamp",
        deletion_grace_period_seconds: Ignored = "deletionGracePeriodSeconds",
        finalizers: Ignored = "finalizers",
        owner_references: Ignored = "ownerReferences",
        managed_fields: Ignored = "managedFields",
        self_link: Ignored = "selfLink",
    }

    pub Spec {
        kind: Kind = "type",
        agent: Agent = "agent",
        model: Model = "model",
        provenance: Map<String> = "provenance",
        registration: Registration = "registration",
        description: String = "description",
        upstream: UpstreamSpec = "upstream",
        path: String = "path",
        hostname: String = "hostname",
        payment: PaymentSpec = "payment",
        payments: Vec<Located<PaymentSpec>> = "payments",
        charge: ChargeSpec = "charge",
        on_disconnect: OnDisconnect = "onDisconnect",
        drain_at: String = "drainAt",
        drain_grace_period: String = "drainGracePeriod",
    }

    pub Agent {
        reference: Reference = "ref",
    }

    pub Reference {
        name: String = "name",
        namespace: String = "namespace",
    }

    pub Model {
        name: String = "name",
        runtime: Runtime = "runtime",
    }

    /// Where the service runs: `url`, or `service`, `namespace` and `port` of a cluster.
    pub UpstreamSpec {
        url: String = "url",
        service: String = "service",
        namespace: String = "namespace",
        port: u64 = "port",
        health_path: String = "healthPath",
        timeout_seconds: u64 = "timeoutSeconds",
        authorization_env: String = "authorizationEnv",
        authorization_file: String = "authorizationFile",
    }

    pub PaymentSpec {
        network: String = "network",
        pay_to: String = "payTo",
        scheme: Scheme = "scheme",
        max_timeout_seconds: u64 = "maxTimeoutSeconds",
        price: Price = "price",
        asset: AssetSpec = "asset",
    }

    /// In the asset's units, such as `"0.01"`.
    pub Price {
        per_request: Decimal = "perRequest",
        per_mtok: Decimal = "perMTok",
        per_hour: Decimal = "perHour",
        per_epoch: Decimal = "perEpoch",
    }

    pub AssetSpec {
        symbol: String = "symbol",
        address: String = "address",
        decimals: u64 = "decimals",
        transfer_method: Method = "transferMethod",
        eip712_name: String = "eip712Name",
        eip712_version: String = "eip712Version",
    }

    /// In units of the first payment's asset.
    pub OptimisticSpec {
        per_payer: Decimal = "perPayer",
        per_offer: Decimal = "perOffer",
    }

    /// An entry in an agents' registry. Accepted and not used yet, but for the description.
    pub Registration {
        enabled: bool = "enabled",
        name: String = "name",
        description: String = "description",
        image: String = "image",
        services: Vec<Located<RegisteredService>> = "services",
        supported_trust: Vec<Located<String>> = "supportedTrust",
        skills: Vec<Located<String>> = "skills",
        domains: Vec<Located<String>> = "domains",
        metadata: Map<String> = "metadata",
    }

    pub RegisteredService {
        name: String = "name",
        endpoint: String = "endpoint",
        version: String = "version",
    }
}

choice! {
    Kind {
        Http = "http",
        Inference = "inference",
        Agent = "agent",
        FineTuning = "fine-tuning",
        Skill = "skill",
    }

    Runtime {
        Ollama = "ollama",
        Vllm = "vllm",
        Tgi = "tgi",
    }

    Scheme {
        Exact = "exact",
    }

    Method {
        Eip3009 = "eip3009",
        Permit2 = "permit2",
    }

    OnDisconnect {
        Release = "release",
        Charge = "charge",
    }
}

/// When the gate settles: the word `beforeBody`, or a map `optimistic`.
#[derive(Clone, Debug)]
pub enum ChargeSpec {
    BeforeBody,
    Optimistic(Located<OptimisticSpec>),
}

choice! {
    ChargeWord {
        BeforeBody = "beforeBody",
    }
}

record! {
    ChargeMap {
        optimistic: OptimisticSpec = "optimistic",
    }
}

impl Read for ChargeSpec {
    fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
        let line = node.line;
        match &node.value {
            Value::Text(text) if text == "optimistic" => {
                faults.add(
                    line,
                    field,
                    "optimistic needs ceilings: optimistic: {perPayer: \"1\", perOffer: \"10\"}",
                );
                None
            }
            Value::Map(_) => match ChargeMap::read(node, field, faults)?.optimistic {
                Entry::Read(optimistic) => Some(Self::Optimistic(optimistic)),
                Entry::Refused => None,
                Entry::Absent => {
                    faults.add(
                        line,
                        field,
                        "must be beforeBody or optimistic: {perPayer: ..., perOffer: ...}",
                    );
                    None
                }
            },
            _ => ChargeWord::read(node, field, faults).map(|ChargeWord::BeforeBody| Self::BeforeBody),
        }
    }
}
