//! Imports run down: a layer of the crate uses the layers below it, and the modules of one folder do not use
//! each other in a circle.
//!
//! The test reads the paths in `src`, those of `use` and those in the code. A file may use the folder that it is
//! in: it is a part of the same module.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The folders and files of `src`, from the bottom to the top. Those of one level do not know each other.
const LEVELS: &[&[&str]] = &[
    &["engine"],
    &["telemetry", "seconds", "process"],
    &["runtime"],
    &["codec", "ws"],
    &["net"],
    &["shards", "backplane"],
    &["hub"],
    &["server"],
    &["integrations", "test", "internals", "docs"],
];

/// A module by its path: `backplane::health` is `["backplane", "health"]`.
type Module = Vec<String>;

#[test]
fn layers_use_only_the_layers_below_them() {
    let level = |module: &Module| {
        let is_here = |level: &&[&str]| level.contains(&module[0].as_str());
        LEVELS.iter().position(is_here).unwrap_or_else(|| panic!("{} has no level", module[0]))
    };
    let mut upward = BTreeSet::new();
    for (user, used) in uses() {
        // `crate::Conn` is the public API, which only the top level uses.
        let is_upward = match used.first() {
            None => level(&user) + 1 < LEVELS.len(),
            Some(_) => user[0] != used[0] && level(&used) >= level(&user),
        };
        if is_upward {
            upward.insert(format!("{} uses crate::{}", user.join("::"), used.join("::")));
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn modules_of_a_folder_do_not_use_each_other_in_a_circle() {
    let mut folders: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (user, used) in uses() {
        let common = user.iter().zip(&used).take_while(|(left, right)| left == right).count();
        if let (Some(from), Some(to)) = (user.get(common), used.get(common)) {
            let folder = folders.entry(user[..common].to_vec()).or_default();
            folder.entry(from.clone()).or_default().insert(to.clone());
        }
    }
    for (folder, mut edges) in folders {
        // Takes away the modules that use no other one, again and again. A circle remains.
        loop {
            let before = edges.len();
            let users: BTreeSet<String> = edges.keys().cloned().collect();
            edges.retain(|_, used| used.iter().any(|used| users.contains(used)));
            if edges.len() == before {
                break;
            }
        }
        assert!(edges.is_empty(), "a circle in src/{}: {edges:#?}", folder.join("/"));
    }
}

#[test]
fn files_that_the_page_on_architecture_names_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let page = fs::read_to_string(folder.join("docs/architecture.md")).expect("the page");
    let mut sources = Vec::new();
    read(&folder, &mut Vec::new(), &mut sources);
    let names = page.split('`').skip(1).step_by(2);
    let files = names.filter_map(|name| name.strip_suffix(".rs"));
    let missing: Vec<_> = files
        .filter(|file| {
            let file: Module = file.split('/').map(str::to_owned).collect();
            !sources.iter().any(|(module, _)| module.ends_with(&file))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Each pair of a module and a module that it uses. The second one is empty for items of the crate's root.
fn uses() -> Vec<(Module, Module)> {
    let mut sources = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut Vec::new(), &mut sources);
    let modules: BTreeSet<Module> = sources.iter().map(|(module, _)| module.clone()).collect();
    let mut uses = Vec::new();
    for (module, source) in sources.iter().filter(|(module, _)| !module.is_empty()) {
        for path in paths(source) {
            uses.extend(resolve(module, &path, &modules).map(|used| (module.clone(), used)));
        }
    }
    assert!(uses.len() > 500, "the paths of the crate are found");
    uses
}

/// Reads the modules in a folder, without unit tests.
fn read(folder: &Path, module: &mut Module, sources: &mut Vec<(Module, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_str().expect("UTF-8").to_owned();
        if name == "tests" {
            continue;
        }
        let is_folder_itself = name == "mod" || name == "lib";
        if !is_folder_itself {
            module.push(name);
        }
        if path.is_dir() {
            read(&path, module, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("a source");
            let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
            sources.push((module.clone(), lines.collect::<Vec<_>>().join("\n")));
        }
        if !is_folder_itself {
            module.pop();
        }
    }
}

/// All paths of a source, such as `crate::engine::Port`. `a::{b, c}` is two.
fn paths(source: &str) -> Vec<Vec<&str>> {
    let mut paths = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    // The length of the path before each open brace; zero for the braces of blocks.
    let mut open: Vec<usize> = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if let Some(behind) = rest.strip_prefix("::") {
            rest = behind;
            continue;
        }
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if word > 0 {
            let base = open.last().copied().unwrap_or(0);
            let continues = source[..source.len() - rest.len()].ends_with("::");
            if !continues {
                path.truncate(base);
            }
            path.push(&rest[..word]);
            rest = &rest[word..];
            if !rest.starts_with("::") {
                paths.push(path.clone());
            }
            continue;
        }
        match first {
            '{' => {
                let is_group = source[..source.len() - rest.len()].ends_with("::");
                open.push(if is_group { path.len() } else { 0 });
            }
            '}' => {
                open.pop();
                path.truncate(open.last().copied().unwrap_or(0));
            }
            _ => {}
        }
        rest = &rest[first.len_utf8()..];
    }
    paths
}

/// The module that a path in a module leads to, if it leads into this crate.
fn resolve(module: &Module, path: &[&str], modules: &BTreeSet<Module>) -> Option<Module> {
    let mut names = path.iter().copied().peekable();
    let mut used = match names.peek()? {
        &"crate" => Vec::new(),
        &"self" | &"super" => module.clone(),
        name => {
            let child = [&module[..], &[(*name).to_owned()]].concat();
            return modules.contains(&child).then(|| descend(module.clone(), names, modules));
        }
    };
    while names.next_if(|name| ["crate", "self", "super"].contains(name)).is_some_and(|name| {
        if name == "super" {
            used.pop();
        }
        true
    }) {}
    names.peek()?;
    Some(descend(used, names, modules))
}

/// Follows names as long as they are modules.
fn descend<'a>(
    mut module: Module,
    names: impl Iterator<Item = &'a str>,
    modules: &BTreeSet<Module>,
) -> Module {
    for name in names {
        module.push(name.to_owned());
        if !modules.contains(&module) {
            module.pop();
            break;
        }
    }
    module
}
