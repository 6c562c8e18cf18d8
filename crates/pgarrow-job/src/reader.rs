//! What reads the values of a job file, and says where they stand.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use pgarrow_export::{Error, ErrorKind, Result};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::keys::KEYS;
use crate::partition::PartitionKey;
use crate::rules::{Overlap, TableRule};
use crate::variables::expand;

pub(crate) struct Reader<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    pub(crate) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.matches('\n').count().saturating_add(1)
    }

    pub(crate) fn error(&self, span: Range<usize>, text: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Options, format!("{}, line {}: {text}", self.name, self.line(&span)))
    }

    pub(crate) fn unknown<'k>(
        &self,
        key: &Spanned<impl AsRef<str>>,
        what: &str,
        known: impl Iterator<Item = &'k str>,
    ) -> Error {
        let name = key.get_ref().as_ref();
        let near = nearest(name, known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        self.error(key.span(), format!("{name:?} is not {what}{near}"))
    }

    pub(crate) fn string(&self, value: &Spanned<DeValue<'_>>) -> Result<String> {
        match value.get_ref() {
            DeValue::String(text) => {
                expand(text, self.environment).map_err(|why| self.error(value.span(), why))
            }
            _ => Err(self.error(value.span(), "write a text in quotes")),
        }
    }

    pub(crate) fn strings(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>> {
        match value.get_ref() {
            DeValue::Array(values) => values.iter().map(|value| self.string(value)).collect(),
            _ => Err(self.error(value.span(), "write a list of texts, as in [\"a\", \"b\"]")),
        }
    }

    pub(crate) fn rules(&self, content: &Spanned<DeValue<'_>>) -> Result<Vec<TableRule>> {
        self.sections("table", content, |section, keys| self.rule(section, keys))
    }

    /// Sections that may be there several times, in two brackets.
    pub(crate) fn sections<T>(
        &self,
        name: &str,
        content: &Spanned<DeValue<'_>>,
        read: impl Fn(&Spanned<DeValue<'_>>, &DeTable<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let refused =
            || self.error(content.span(), format!("write [[{name}]], in two brackets, and its keys below"));
        let DeValue::Array(sections) = content.get_ref() else { return Err(refused()) };
        let section = |section: &Spanned<DeValue<'_>>| match section.get_ref() {
            DeValue::Table(keys) => read(section, keys),
            _ => Err(refused()),
        };
        sections.iter().map(section).collect()
    }

    fn rule(&self, section: &Spanned<DeValue<'_>>, keys: &DeTable<'_>) -> Result<TableRule> {
        let mut rule = TableRule::default();
        for (key, value) in keys {
            match key.get_ref().as_ref() {
                "name" => rule.pattern = self.filled(value)?,
                "columns" => rule.columns = Some(self.strings(value)?),
                "filter" => rule.filter = Some(self.filled(value)?),
                "mode" => rule.mode = Some(self.word(value, TableRule::MODES)?),
                "incremental" => rule.incremental = Some(self.word(value, TableRule::FINDINGS)?),
                "column" => rule.column = Some(self.filled(value)?),
                "overlap" => {
                    rule.overlap = Some(match value.get_ref() {
                        DeValue::Integer(_) => {
                            let number = self.text(value)?.0.parse();
                            Overlap::Number(number.map_err(|_| self.error(value.span(), "write 0 or more"))?)
                        }
                        _ => Overlap::Time(self.duration(value)?),
                    });
                }
                "nulls" => rule.nulls = Some(self.word(value, TableRule::NULLS)?),
                "full_every" => rule.full_every = Some(self.duration(value)?),
                "on_schema_change" => rule.on_schema_change = Some(self.word(value, TableRule::CHANGES)?),
                "partition_by" => rule.partition_by = Some(self.partition_keys(value)?),
                "keep_partition_columns" => rule.keep_partition_columns = Some(self.boolean(value)?),
                _ => {
                    let known = KEYS.iter().filter(|(of, ..)| *of == "table").map(|(_, key, _)| *key);
                    return Err(self.unknown(key, "a key of section [[table]]", known));
                }
            }
        }
        match rule.pattern.is_empty() {
            true => Err(self.error(section.span(), "name is missing in this section [[table]]")),
            false => Ok(rule),
        }
    }

    /// Refuses keys of these sections, which do not go with the destination.
    pub(crate) fn refuse(&self, file: &DeTable<'_>, refused: &[(&str, &str)], why: &str) -> Result<()> {
        for (section, content) in file {
            let sections = match content.get_ref() {
                DeValue::Array(sections) => sections.iter().map(Spanned::get_ref).collect(),
                section => vec![section],
            };
            let keys = sections.into_iter().filter_map(|section| match section {
                DeValue::Table(keys) => Some(keys.keys()),
                _ => None,
            });
            let is_refused = |key: &&Spanned<_>| {
                refused.contains(&(section.get_ref().as_ref(), AsRef::as_ref(key.get_ref())))
            };
            if let Some(key) = keys.flatten().find(is_refused) {
                return Err(self.error(key.span(), format!("{} {why}", key.get_ref())));
            }
        }
        Ok(())
    }

    fn partition_keys(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<PartitionKey>> {
        let key = |text: &String| text.parse().map_err(|error: Error| self.error(value.span(), error));
        self.strings(value)?.iter().map(key).collect()
    }

    fn word<T: Copy>(&self, value: &Spanned<DeValue<'_>>, known: &[(&str, T)]) -> Result<T> {
        let word = self.string(value)?;
        match known.iter().find(|(known, _)| *known == word) {
            Some((_, meaning)) => Ok(*meaning),
            None => {
                let known: Vec<&str> = known.iter().map(|(known, _)| *known).collect();
                Err(self.error(value.span(), format!("write one of {}", known.join(", "))))
            }
        }
    }

    fn duration(&self, value: &Spanned<DeValue<'_>>) -> Result<Duration> {
        let text = self.string(value)?;
        humantime::parse_duration(&text)
            .map_err(|_| self.error(value.span(), "write a time with its unit, as in \"10m\" or \"7d\""))
    }

    pub(crate) fn boolean(&self, value: &Spanned<DeValue<'_>>) -> Result<bool> {
        match value.get_ref() {
            DeValue::Boolean(is_so) => Ok(*is_so),
            _ => Err(self.error(value.span(), "write true or false")),
        }
    }

    /// A text that is not empty, whatever its variables have.
    pub(crate) fn filled(&self, value: &Spanned<DeValue<'_>>) -> Result<String> {
        let text = self.string(value)?;
        match text.trim().is_empty() {
            true => Err(self.error(value.span(), "the text is empty; leave the key out")),
            false => Ok(text),
        }
    }

    /// Any single value as text, and as it is written, with variables by their names.
    pub(crate) fn text(&self, value: &Spanned<DeValue<'_>>) -> Result<(String, String)> {
        let plain = match value.get_ref() {
            DeValue::String(written) => return Ok((self.string(value)?, written.clone().into_owned())),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                let number = i64::from_str_radix(&digits, number.radix());
                number.map_err(|_| self.error(value.span(), "the number is too large"))?.to_string()
            }
            DeValue::Float(number) => number.as_str().to_owned(),
            DeValue::Boolean(_) => {
                return Err(self.error(value.span(), "write a value, and not true or false"));
            }
            _ => return Err(self.error(value.span(), "write one value, or a list of them")),
        };
        Ok((plain.clone(), plain))
    }
}

/// The known name that was probably meant.
fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    // As clap has it.
    const ALIKE: f64 = 0.7;
    let alike = known.map(|known| (strsim::jaro(name, known), known));
    let nearest = alike.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (nearest.0 > ALIKE).then_some(nearest.1)
}
