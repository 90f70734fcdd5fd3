//! Known prefixes: a tree whose edges are the tokens of one full page. Knows which page holds what, not who uses it.
use std::collections::{BTreeSet, HashMap};

use super::{Lineage, Namespace};
use crate::batch::{PAGE_TOKENS, PageId, TokenId};

/// The tokens of one full page.
pub type PageKey = [TokenId; PAGE_TOKENS];

/// Place of a node in the slab.
type NodeId = usize;

/// A child is found by its parent (none: the root), its namespace and the tokens of its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Edge {
    from: Option<NodeId>,
    namespace: Namespace,
    tokens: PageKey,
}

#[derive(Debug)]
struct Node {
    edge: Edge,
    page: PageId,
    children: usize,
    last_used: u64,
}

impl Node {
    fn new(edge: Edge, page: PageId, now: u64) -> Self {
        Self { edge, page, children: 0, last_used: now }
    }
}

/// A radix tree over pages, with its leaves in order of last use.
#[derive(Debug, Default)]
pub struct PrefixCache {
    edges: HashMap<Edge, NodeId>,
    nodes: Vec<Option<Node>>,
    vacant: Vec<NodeId>,
    /// Nodes without children, the longest unused first.
    leaves: BTreeSet<(u64, NodeId)>,
    clock: u64,
}

impl PrefixCache {
    /// The pages of the longest known prefix of `keys`; they count as used now.
    pub fn find(&mut self, lineage: Lineage, keys: impl Iterator<Item = PageKey>) -> Vec<PageId> {
        self.clock += 1;
        let mut from = None;
        let mut pages = Vec::new();
        for (index, tokens) in keys.enumerate() {
            let edge = Edge { from, namespace: lineage.of_page(index), tokens };
            let Some(&id) = self.edges.get(&edge) else { break };
            self.touch(id);
            pages.extend(self.nodes[id].as_ref().map(|node| node.page));
            from = Some(id);
        }
        pages
    }

    /// Makes a path known. Returns the page that each key now stands for: the given one, or the one known before.
    pub fn insert(&mut self, lineage: Lineage, path: impl Iterator<Item = (PageKey, PageId)>) -> Vec<PageId> {
        self.clock += 1;
        let mut from = None;
        let mut pages = Vec::new();
        for (index, (tokens, page)) in path.enumerate() {
            let edge = Edge { from, namespace: lineage.of_page(index), tokens };
            let known = self.edges.get(&edge).copied();
            let id = known.unwrap_or_else(|| self.attach(Node::new(edge, page, self.clock)));
            self.touch(id);
            pages.extend(self.nodes[id].as_ref().map(|node| node.page));
            from = Some(id);
        }
        pages
    }

    /// Removes the longest unused leaf that `is_idle`; returns its page.
    pub fn evict(&mut self, is_idle: impl Fn(PageId) -> bool) -> Option<PageId> {
        let idle = |id: NodeId| self.nodes[id].as_ref().is_some_and(|node| is_idle(node.page));
        let (_, id) = self.leaves.iter().copied().find(|&(_, id)| idle(id))?;
        self.detach(id)
    }

    /// Removes every prefix of a namespace; returns the pages.
    pub fn forget(&mut self, namespace: Namespace) -> Vec<PageId> {
        let inside = |id: &NodeId| self.nodes[*id].as_ref().is_some_and(|node| node.edge.namespace == namespace);
        let doomed: Vec<NodeId> = (0..self.nodes.len()).filter(inside).collect();
        doomed.into_iter().filter_map(|id| self.detach(id)).collect()
    }

    fn attach(&mut self, node: Node) -> NodeId {
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.nodes.push(None);
            self.nodes.len() - 1
        });
        self.leaves.insert((node.last_used, id));
        self.edges.insert(node.edge, id);
        let entry = self.parent(node.edge).map(|(parent_id, parent)| {
            parent.children += 1;
            (parent.last_used, parent_id)
        });
        if let Some(entry) = entry {
            self.leaves.remove(&entry);
        }
        self.nodes[id] = Some(node);
        id
    }

    fn detach(&mut self, id: NodeId) -> Option<PageId> {
        let node = self.nodes[id].take()?;
        self.leaves.remove(&(node.last_used, id));
        self.edges.remove(&node.edge);
        self.vacant.push(id);
        let childless = self.parent(node.edge).and_then(|(parent_id, parent)| {
            parent.children -= 1;
            (parent.children == 0).then_some((parent.last_used, parent_id))
        });
        self.leaves.extend(childless);
        Some(node.page)
    }

    fn parent(&mut self, edge: Edge) -> Option<(NodeId, &mut Node)> {
        let id = edge.from?;
        self.nodes[id].as_mut().map(|node| (id, node))
    }

    fn touch(&mut self, id: NodeId) {
        let Some(node) = self.nodes[id].as_mut() else { return };
        let before = std::mem::replace(&mut node.last_used, self.clock);
        if self.leaves.remove(&(before, id)) {
            self.leaves.insert((self.clock, id));
        }
    }
}
