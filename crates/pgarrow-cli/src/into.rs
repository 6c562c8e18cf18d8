//! Where a load goes, and how: the flags, checked. No connection is open yet.

use pgarrow::{Cancel, Config, Error, Relation, Run, parse_column_list};
use pgarrow_load::input::Input;
use pgarrow_load::{
    Connection, Conversions, IdentityValues, Load, LoadMethod, LoadMode, LoadOptions, NeededTypes,
    OnConflict, PrimaryKey, RelationName, TypesFrom,
};

use pgarrow_job::JobFile;

use crate::connecting::config;
use crate::exit::Failure;
use crate::flags::{
    ConflictName, ConvertName, ExportFlags, HowFlags, IdentityName, IntoFlags, JobOptions, LoadFlags,
    MethodName, ModeName, PartFlags, SessionFlags, TypesFromName, in_job,
};

/// A table, and how it is loaded.
#[derive(Clone, Debug)]
pub(crate) struct Into {
    connection: Config,
    table: String,
    options: LoadOptions,
    /// The same without parts, marks and rejected rows.
    plain: LoadOptions,
    takes: Takes,
}

impl TryFrom<&LoadFlags> for Into {
    type Error = Failure;

    fn try_from(flags: &LoadFlags) -> Result<Self, Failure> {
        let role = flags.session.role.as_deref();
        let mut into = Self::new(&flags.into, &flags.session, role, &flags.session.settings)?;
        if let Some(columns) = &flags.columns {
            let columns = parse_column_list(columns).map_err(Error::from)?;
            into.plain = into.plain.with_columns(columns.clone());
            into.options = into.options.with_columns(columns);
        }
        into.with_parts(&flags.parts)
    }
}

/// The role and the settings of an export are the source's; its timeouts are for both servers.
impl TryFrom<&ExportFlags> for Into {
    type Error = Failure;

    fn try_from(flags: &ExportFlags) -> Result<Self, Failure> {
        if flags.keep_going {
            return Err(Failure::options("--keep-going is for several tables, and one is read"));
        }
        let into = match (&flags.into_schema, flags.what.tables.iter().chain(&flags.what.named).next()) {
            (None, _) => flags.into.clone(),
            (Some(schema), Some(table)) => {
                let name = RelationName::parse(table).map_err(Error::from)?.name;
                let name = RelationName { schema: Some(schema.clone()), name };
                IntoFlags { into: Some(name.quoted()), ..flags.into.clone() }
            }
            (Some(_), None) => {
                return Err(Failure::options("--into-schema is for tables; give --into SCHEMA.TABLE"));
            }
        };
        let (role, settings) = (flags.copying.target_role.as_deref(), &flags.copying.target_settings);
        let into = Self::new(&into, &flags.session, role, settings)?;
        Ok(Self { takes: Takes::of(flags)?, ..into })
    }
}

/// Many tables, and how they are loaded.
#[derive(Clone, Debug)]
pub(crate) struct IntoMany {
    pub(crate) connection: Config,
    pub(crate) options: LoadOptions,
    /// The schema of all tables; `None`: each has that of its source.
    pub(crate) schema: Option<String>,
    /// Each is committed by itself, and others go on if it fails.
    pub(crate) keep_going: bool,
    /// What becomes of rows that are there, where nothing else is said of a table.
    pub(crate) mode: LoadMode,
    pub(crate) takes: Takes,
}

/// What a new table takes over from the table that is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Takes {
    pub(crate) types: bool,
    pub(crate) key: bool,
}

impl TryFrom<&ExportFlags> for IntoMany {
    type Error = Failure;

    fn try_from(flags: &ExportFlags) -> Result<Self, Failure> {
        if flags.into.into.is_some() {
            let text = "--into names one table, and several are read; --into-schema names their schema";
            return Err(Failure::options(text));
        }
        check_writers(&flags.into.how, flags.keep_going)?;
        if matches!(&flags.into.key, Some(Some(_))) {
            let text =
                "--key with columns is for one table; without them, it takes each table's own primary key";
            return Err(Failure::options(text));
        }
        let takes = Takes::of(flags)?;
        let role = flags.copying.target_role.as_deref();
        let (connection, options) =
            target(&flags.into, &flags.session, role, &flags.copying.target_settings)?;
        let (schema, keep_going) = (flags.into_schema.clone(), flags.keep_going);
        Ok(Self { connection, options, schema, keep_going, mode: mode(&flags.into.how), takes })
    }
}

/// Those of a folder. Files say nothing of keys, nor what types consist of.
impl TryFrom<&LoadFlags> for IntoMany {
    type Error = Failure;

    fn try_from(flags: &LoadFlags) -> Result<Self, Failure> {
        check_writers(&flags.into.how, flags.keep_going)?;
        if flags.into.key.is_some() {
            let text = "--key is for one table: files do not say which key a table has; make the tables with their keys \
                        before, and load by another mode";
            return Err(Failure::options(text));
        }
        let of_one = flags.columns.as_ref().map(|_| "--columns").or(flags.parts.any());
        if let Some(name) = of_one {
            return Err(Failure::options(format!("{name} is for one table, and --into-schema loads many")));
        }
        let role = flags.session.role.as_deref();
        let (connection, options) = target(&flags.into, &flags.session, role, &flags.session.settings)?;
        let (schema, keep_going) = (flags.into_schema.clone(), flags.keep_going);
        let mode = mode(&flags.into.how);
        Ok(Self { connection, options, schema, keep_going, mode, takes: Takes::default() })
    }
}

/// Those of a job whose destination is a server.
impl IntoMany {
    pub(crate) fn of_job(
        target: &str,
        file: &JobFile,
        flags: &JobOptions,
        keep_going: bool,
    ) -> Result<Self, Failure> {
        let refused = |name: &str, why: &str| {
            Err(Failure::options(format!("{}: the option {} {why}", file.name, in_job(name))))
        };
        if let Some(name) = flags.files.of_files() {
            return refused(name, "is for files, and the destination is a server");
        }
        check_writers(&flags.how, keep_going)?;
        let of_rules = file.rules.iter().filter_map(|rule| rule.mode);
        let makes_tables = [mode(&flags.how)].into_iter().chain(of_rules).any(LoadMode::makes_tables);
        if flags.how.types_from.is_some() && !flags.how.add_columns && !makes_tables {
            return refused("--types-from", "is for columns that are made: by the mode create or replace");
        }
        let takes = Takes { types: flags.copying.create_types, key: flags.key };
        let takes = takes.check(&flags.how, makes_tables)?;
        let (role, settings) = (flags.copying.target_role.as_deref(), &flags.copying.target_settings);
        let options = with_session(options(&flags.how), &flags.session, role, settings);
        let connection = config(Some(target), &flags.session.connecting)?;
        let (schema, mode) = (file.into_schema.clone(), mode(&flags.how));
        Ok(Self { connection, options, schema, keep_going, mode, takes })
    }
}

/// Refuses several writers for tables of one transaction.
fn check_writers(how: &HowFlags, keep_going: bool) -> Result<(), Failure> {
    match how.writers.is_some_and(|writers| writers > 1) && !keep_going {
        true => Err(Failure::options(
            "several --writers commit each table by itself; add --keep-going, or leave out --writers",
        )),
        false => Ok(()),
    }
}

impl Takes {
    fn of(flags: &ExportFlags) -> Result<Self, Failure> {
        let takes = Self { types: flags.copying.create_types, key: matches!(&flags.into.key, Some(None)) };
        takes.check(&flags.into.how, mode(&flags.into.how).makes_tables())
    }

    fn check(self, how: &HowFlags, makes_tables: bool) -> Result<Self, Failure> {
        if self.types && !makes_tables {
            let text = "--create-types is for tables that are made: with --mode create or replace";
            return Err(Failure::options(text));
        }
        if self.key && !makes_tables {
            let text =
                "--key without columns is the key of a table that is made: with --mode create or replace";
            return Err(Failure::options(text));
        }
        if self.types && how.writers.is_some_and(|writers| writers > 1) {
            let text = "--create-types is for one writer; leave out --writers, or make the types first";
            return Err(Failure::options(text));
        }
        Ok(self)
    }

    /// Asks the source of a run about a table. `schema`: where types are made.
    pub(crate) fn read(
        self,
        run: &mut Run,
        table: &Relation,
        schema: Option<&str>,
    ) -> Result<(Option<NeededTypes>, Option<PrimaryKey>), Failure> {
        let types = match self.types {
            true => {
                let types = NeededTypes::read(table.oid, &mut |sql| run.query_text(sql))?;
                Some(types.in_schema(schema.map(str::to_owned)))
            }
            false => None,
        };
        let key = match self.key {
            true => PrimaryKey::read(table.oid, &mut |sql| run.query_text(sql))?,
            false => None,
        };
        Ok((types, key))
    }

    pub(crate) fn any(self) -> bool {
        self.types || self.key
    }
}

/// The server, and how its tables are loaded.
fn target(
    into: &IntoFlags,
    session: &SessionFlags,
    role: Option<&str>,
    settings: &[(String, String)],
) -> Result<(Config, LoadOptions), Failure> {
    let makes_tables = mode(&into.how).makes_tables();
    if into.how.types_from.is_some() && !into.how.add_columns && !makes_tables {
        let text =
            "--types-from is for columns that are made: with --mode create or replace, or --add-columns";
        return Err(Failure::options(text));
    }
    let connection = config(into.target.as_deref(), &session.connecting)?;
    let mut options = options(&into.how);
    if let Some(Some(key)) = &into.key {
        let key = parse_column_list(key).map_err(Error::from)?;
        if makes_tables {
            options = options.with_primary_key(PrimaryKey::new(key.clone()));
        }
        if !makes_tables || into.how.on_conflict.is_some() {
            options = options.with_key(key);
        }
    }
    Ok((connection, with_session(options, session, role, settings)))
}

/// Adds what is said of the sessions of the target, and how many there are.
fn with_session(
    mut options: LoadOptions,
    session: &SessionFlags,
    role: Option<&str>,
    settings: &[(String, String)],
) -> LoadOptions {
    if let Some(time) = session.read_timeout {
        options = options.with_read_timeout(time);
    }
    if let Some(time) = session.lock_timeout {
        options = options.with_lock_timeout(time);
    }
    if let Some(role) = role {
        options = options.with_role(role);
    }
    settings.iter().fold(options, |options, (name, value)| options.with_setting(name, value))
}

impl Into {
    fn new(
        into: &IntoFlags,
        session: &SessionFlags,
        role: Option<&str>,
        settings: &[(String, String)],
    ) -> Result<Self, Failure> {
        let Some(table) = &into.into else {
            return Err(Failure::options("no table to load; give --into SCHEMA.TABLE"));
        };
        let (connection, options) = target(into, session, role, settings)?;
        let (table, takes) = (table.clone(), Takes::default());
        Ok(Self { connection, table, plain: options.clone(), options, takes })
    }

    /// What the table takes over from the one that is read.
    pub(crate) fn takes(&self) -> Takes {
        self.takes
    }

    /// The schema of the table, if it is named.
    pub(crate) fn schema(&self) -> Option<String> {
        RelationName::parse(&self.table).ok()?.schema
    }

    /// Adds how the load commits, and what becomes of bad rows. Refuses contradictions.
    pub(crate) fn with_parts(mut self, flags: &PartFlags) -> Result<Self, Failure> {
        if let Some(rows) = flags.commit_every {
            self.options = self.options.with_commit_every(rows);
        }
        if let Some(key) = &flags.restart_key {
            self.options = self.options.with_restart_key(key);
        }
        if let Some(rows) = flags.reject_limit {
            self.options = self.options.with_reject_limit(rows);
        }
        self.options = self.options.with_reject(flags.reject.is_some());
        // The real key is known only after a look at the files.
        let keyed = match (flags.commit_every, &flags.restart_key) {
            (Some(_), None) => self.options.clone().with_restart_key("of the files"),
            _ => self.options.clone(),
        };
        keyed.check()?;
        Ok(self)
    }

    /// Adds the key that the files make, if one is needed and none is given. Also returns the key.
    pub(crate) fn with_key_of(
        mut self,
        input: &Input,
        flags: &PartFlags,
    ) -> Result<(Self, Option<String>), Failure> {
        let key = match (&flags.restart_key, flags.commit_every) {
            (Some(key), _) => Some(key.clone()),
            (None, Some(_)) => Some(input.restart_key(&self.table)?),
            (None, None) => None,
        };
        if let Some(key) = key.as_deref().filter(|_| flags.restart_key.is_none()) {
            self.options = self.options.with_restart_key(key);
        }
        Ok((self, key))
    }

    /// The same for rows that no key can be made of.
    pub(crate) fn with_given_key(self, flags: &PartFlags) -> Result<(Self, Option<String>), Failure> {
        match (&flags.restart_key, flags.commit_every) {
            (None, Some(_)) => Err(Failure::options(
                "--commit-every needs a --restart-key for batches, which have no name that a key could be made of",
            )),
            (key, _) => {
                let key = key.clone();
                Ok((self, key))
            }
        }
    }

    /// Only plans the load: it does not look at marks, since that would create their table.
    pub(crate) fn plan_only(self) -> Self {
        Self { options: self.plain.clone(), ..self }
    }

    /// Where it goes: the table, and the server.
    pub(crate) fn place(&self) -> (&str, &Config) {
        (&self.table, &self.connection)
    }

    /// The load as a part of a transaction of the caller.
    pub(crate) fn load_in(self, transaction: &Connection) -> Result<Load, Failure> {
        Ok(Load::in_transaction(transaction, &self.table)?.options(self.options))
    }

    /// The load as the library takes it.
    pub(crate) fn load(self, cancel: Cancel) -> Result<Load, Failure> {
        Ok(Load::with_config(self.connection, &self.table, cancel)?.options(self.options))
    }
}

fn mode(flags: &HowFlags) -> LoadMode {
    flags.mode.map_or_else(LoadMode::default, |mode| match mode {
        ModeName::Append => LoadMode::Append,
        ModeName::Truncate => LoadMode::Truncate,
        ModeName::Create => LoadMode::Create,
        ModeName::Replace => LoadMode::Replace,
        ModeName::Upsert => LoadMode::Upsert,
    })
}

fn options(flags: &HowFlags) -> LoadOptions {
    let method = flags.method.map(|method| match method {
        MethodName::Copy => LoadMethod::Copy,
        MethodName::Insert => LoadMethod::Insert,
        MethodName::Auto => LoadMethod::Auto,
    });
    let convert = flags.convert.map(|convert| match convert {
        ConvertName::Widen => Conversions::Widen,
        ConvertName::Check => Conversions::Check,
        ConvertName::Round => Conversions::Round,
    });
    let types_from = flags.types_from.map(|types| match types {
        TypesFromName::Metadata => TypesFrom::Metadata,
        TypesFromName::Arrow => TypesFrom::Arrow,
    });
    let identity = flags.identity.map(|identity| match identity {
        IdentityName::Keep => IdentityValues::Keep,
        IdentityName::Generate => IdentityValues::Generate,
    });
    let on_conflict = flags.on_conflict.map(|what| match what {
        ConflictName::Error => OnConflict::Error,
        ConflictName::Skip => OnConflict::Skip,
        ConflictName::Update => OnConflict::Update,
    });
    let options = LoadOptions::default()
        .with_mode(mode(flags))
        .with_method(method.unwrap_or_default())
        .with_conversions(convert.unwrap_or_default())
        .with_types_from(types_from.unwrap_or_default())
        .with_identity(identity.unwrap_or_default())
        .with_add_columns(flags.add_columns)
        .with_freeze(!flags.no_freeze)
        .with_vacuum(flags.vacuum)
        .with_analyze(!flags.no_analyze);
    let options = flags.writers.into_iter().fold(options, LoadOptions::with_writers);
    on_conflict.into_iter().fold(options, LoadOptions::with_on_conflict)
}
