/// What the samples of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The families of a role, each a constant, and all of them.
#[macro_export]
macro_rules! families {
    ($prefix:literal: $( $name:ident = $kind:ident $suffix:literal $labels:expr, $help:literal; )*) => {
        $( pub(super) const $name: $crate::Family = $crate::Family {
            name: concat!($prefix, $suffix),
            kind: $crate::Kind::$kind,
            labels: $labels,
            help: $help,
        }; )*

        /// All of them.
        pub const FAMILIES: &[$crate::Family] = &[ $( $name, )* ];
    };
}

/// Series of one name. Published: `docs/metrics.md` is generated from the families of each role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, with its unit.
    pub help: &'static str,
}
