use crate::{
    fault::Faults,
    node::{Key, Node, Value},
    suggest::did_you_mean,
};

/// A value and where it stands, so that whoever finds it wrong can say where.
#[derive(Clone, Debug)]
pub struct Located<T> {
    pub value: T,
    pub line: u32,
    /// The full path of the field.
    pub field: String,
}

impl<T> Located<T> {
    pub(crate) fn refuse(&self, faults: &mut Faults<'_>, message: impl Into<String>) {
        faults.add(self.line, &*self.field, message);
    }

    /// Says that a field of this map has to be there.
    pub(crate) fn lacks(&self, faults: &mut Faults<'_>, key: &str, what: &str) {
        faults.add(self.line, join(&self.field, key), format!("is missing: {what}"));
    }
}

/// A field of a map.
#[derive(Clone, Debug)]
pub enum Entry<T> {
    Absent,
    /// It was there, and its fault has been told.
    Refused,
    Read(Located<T>),
}

impl<T> Entry<T> {
    pub fn read(&self) -> Option<&Located<T>> {
        match self {
            Self::Read(located) => Some(located),
            Self::Absent | Self::Refused => None,
        }
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// `what` completes the sentence that tells a missing field.
    pub(crate) fn required<P>(
        &self,
        parent: &Located<P>,
        key: &str,
        what: &str,
        faults: &mut Faults<'_>,
    ) -> Option<&Located<T>> {
        if self.is_absent() {
            parent.lacks(faults, key, what);
        }
        self.read()
    }
}

/// A type that a node of a document can hold. `None` means that the fault has been told.
pub(crate) trait Read: Sized {
    fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self>;
}

fn expected<T>(what: &str, node: &Node, field: &str, faults: &mut Faults<'_>) -> Option<T> {
    let hint = match (&node.value, what) {
        (Value::Plain(text), "a text") => format!("; put it in quotes: \"{text}\""),
        _ => String::new(),
    };
    faults.add(node.line, field, format!("must be {what}, not {}{hint}", node.kind()));
    None
}

impl Read for String {
    fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
        match node.value {
            Value::Text(text) => Some(text),
            _ => expected("a text", &node, field, faults),
        }
    }
}

impl Read for bool {
    fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
        match &node.value {
            Value::Plain(text) if text == "true" => Some(true),
            Value::Plain(text) if text == "false" => Some(false),
            _ => expected("true or false", &node, field, faults),
        }
    }
}

impl Read for u64 {
    fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
        let Value::Plain(text) = &node.value else { return expected("a whole number", &node, field, faults) };
        let is_plain =
            text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        match text.parse() {
            Ok(number) if is_plain => Some(number),
            _ => {
                faults.add(node.line, field, format!("{text} is not a plain whole number, such as 300"));
                None
            }
        }
    }
}

/// An amount of money as it was written, in quotes or not.
#[derive(Clone, Debug)]
pub struct Decimal(pub String);

impl Read for Decimal {
    fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
        match node.value {
            Value::Text(text) | Value::Plain(text) => Some(Self(text)),
            _ => expected("a decimal number", &node, field, faults),
        }
    }
}

/// Whatever stands there: a field of somebody else's.
#[derive(Clone, Debug)]
pub struct Ignored;

impl Read for Ignored {
    fn read(_: Node, _: &str, _: &mut Faults<'_>) -> Option<Self> {
        Some(Self)
    }
}

impl<T: Read> Read for Vec<Located<T>> {
    fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
        let Value::List(items) = node.value else { return expected("a list", &node, field, faults) };
        let read = items.into_iter().enumerate().map(|(index, item)| {
            let (line, field) = (item.line, format!("{field}[{index}]"));
            T::read(item, &field, faults).map(|value| Located { value, line, field })
        });
        // Every item is read, so that all faults are told, before one of them ends the list.
        let read: Vec<_> = read.collect();
        read.into_iter().collect()
    }
}

/// A map whose keys are the operator's own.
#[derive(Clone, Debug)]
pub struct Map<T>(pub Vec<(String, Located<T>)>);

impl<T> Map<T> {
    pub fn get(&self, key: &str) -> Option<&Located<T>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, located)| located)
    }
}

impl<T: Read> Read for Map<T> {
    fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
        let Value::Map(entries) = node.value else { return expected("a map", &node, field, faults) };
        let read = entries.into_iter().map(|(Key { name, line }, node)| {
            let field = join(field, &name);
            T::read(node, &field, faults).map(|value| (name, Located { value, line, field }))
        });
        let read: Vec<_> = read.collect();
        read.into_iter().collect::<Option<_>>().map(Self)
    }
}

/// A map whose keys are known, while it is being read.
pub(crate) struct Fields<'a, 'f> {
    field: &'a str,
    entries: Vec<(Key, Node)>,
    faults: &'a mut Faults<'f>,
}

impl<'a, 'f> Fields<'a, 'f> {
    pub(crate) fn open(node: Node, field: &'a str, faults: &'a mut Faults<'f>) -> Option<Self> {
        match node.value {
            Value::Map(entries) => Some(Self { field, entries, faults }),
            _ => expected("a map", &node, field, faults),
        }
    }

    /// Nothing after the colon is the same as no field, as Kubernetes has it.
    pub(crate) fn take<T: Read>(&mut self, key: &str) -> Entry<T> {
        let Some(at) = self.entries.iter().position(|(found, _)| found.name == key) else {
            return Entry::Absent;
        };
        let (Key { line, .. }, node) = self.entries.remove(at);
        if node.is_null() {
            return Entry::Absent;
        }
        let field = join(self.field, key);
        match T::read(node, &field, self.faults) {
            Some(value) => Entry::Read(Located { value, line, field }),
            None => Entry::Refused,
        }
    }

    /// What is left is unknown.
    pub(crate) fn close(self, known: &[&str]) {
        for (Key { name, line }, _) in self.entries {
            let meant = did_you_mean(&name, known.iter().copied());
            let hint = if meant.is_empty() { format!("; known here: {}", known.join(", ")) } else { meant };
            self.faults.add(line, join(self.field, &name), format!("unknown field{hint}"));
        }
    }
}

pub(crate) fn join(field: &str, key: &str) -> String {
    match field {
        "" => key.to_owned(),
        _ => format!("{field}.{key}"),
    }
}

/// A map with known keys: the struct, and how it is read. One list is the source of both.
macro_rules! record {
    ($( $(#[$meta:meta])* $vis:vis $name:ident { $( $(#[$doc:meta])* $field:ident: $type:ty = $key:literal, )* } )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug)]
        $vis struct $name { $( $(#[$doc])* $vis $field: Entry<$type>, )* }

        impl Read for $name {
            fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
                let mut fields = Fields::open(node, field, faults)?;
                let read = Self { $( $field: fields.take($key), )* };
                fields.close(&[$( $key ),*]);
                Some(read)
            }
        }
    )* };
}

/// A text that is one of a few words.
macro_rules! choice {
    ($( $(#[$meta:meta])* $name:ident { $( $variant:ident = $word:literal, )* } )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $variant, )* }

        impl Read for $name {
            fn read(node: Node, field: &str, faults: &mut Faults<'_>) -> Option<Self> {
                let line = node.line;
                let text = String::read(node, field, faults)?;
                match text.as_str() {
                    $( $word => Some(Self::$variant), )*
                    _ => {
                        let words = [$( $word ),*];
                        let meant = did_you_mean(&text, words);
                        let known = words.join(", ");
                        faults.add(line, field, format!("{text:?} is none of: {known}{meant}"));
                        None
                    }
                }
            }
        }
    )* };
}

pub(crate) use {choice, record};
