//! Times of collective operations among devices in servers.

/// The algorithms of an all-reduce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// Each of `n` devices sends `2 (n - 1)` pieces of `1 / n` around a ring, and the sums on (Patarasuk & Yuan 2009).
    Ring,
    /// Two binary trees of servers, each for half of the data, with a chain inside each server, as in NCCL (Sanders et al.
    /// 2009). Each piece goes up and down.
    Tree,
}

/// Latencies in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hops {
    /// Of the whole operation.
    pub base: f64,
    /// Of a step between two devices of a server.
    pub inside: f64,
    /// Of a step between two servers.
    pub between: f64,
}

/// A way of sending messages: a fast one for small messages, or a thorough one for large ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Protocol {
    /// Its latencies in a ring.
    pub ring: Hops,
    /// Its latencies in trees.
    pub tree: Hops,
    /// The fraction of the bandwidth that it reaches.
    pub bandwidth: f64,
}

/// What connects the devices.
#[derive(Debug, Clone, PartialEq)]
pub struct Interconnect {
    /// Devices of a server.
    pub per_server: usize,
    /// Bytes per second that a device sends to others of its server while it receives as many.
    pub inside: f64,
    /// Bytes per second that a server sends to others while it receives as many, by all of its network cards.
    pub between: f64,
    /// The protocols; the fastest is used.
    pub protocols: &'static [Protocol],
}

impl Interconnect {
    /// Returns the time of adding `bytes` bytes of each of `ranks` devices, so that all have the sum.
    pub fn all_reduce(&self, algorithm: Algorithm, ranks: usize, bytes: f64) -> f64 {
        if ranks < 2 {
            return 0.0;
        }
        let servers = self.servers(ranks);
        let share = (ranks - 1) as f64 / ranks as f64;
        self.fastest(servers, |protocol, bandwidth| match algorithm {
            Algorithm::Ring => {
                let between = 2 * (servers - 1);
                protocol.ring.time(2 * (ranks - 1) - between, between as f64) + 2.0 * share * bytes / bandwidth
            }
            Algorithm::Tree => {
                let chain = ranks.min(self.per_server) - 1;
                protocol.tree.time(2 * chain, 2.0 * (servers as f64).log2().ceil()) + 2.0 * bytes / bandwidth
            }
        })
    }

    /// Returns the time of the faster algorithm.
    pub fn fastest_all_reduce(&self, ranks: usize, bytes: f64) -> f64 {
        self.all_reduce(Algorithm::Ring, ranks, bytes).min(self.all_reduce(Algorithm::Tree, ranks, bytes))
    }

    /// Returns the time of gathering `bytes` bytes, an equal part of them from each of `ranks` devices, on all of them, by
    /// a ring.
    pub fn all_gather(&self, ranks: usize, bytes: f64) -> f64 {
        if ranks < 2 {
            return 0.0;
        }
        let servers = self.servers(ranks);
        let share = (ranks - 1) as f64 / ranks as f64;
        self.fastest(servers, |protocol, bandwidth| {
            protocol.ring.time(ranks - servers, (servers - 1) as f64) + share * bytes / bandwidth
        })
    }

    fn servers(&self, ranks: usize) -> usize {
        ranks.div_ceil(self.per_server)
    }

    /// Returns the time by the fastest protocol, given the time by one and its bandwidth.
    fn fastest(&self, servers: usize, time: impl Fn(&Protocol, f64) -> f64) -> f64 {
        let link = if servers > 1 { self.inside.min(self.between) } else { self.inside };
        let times = self.protocols.iter().map(|protocol| time(protocol, protocol.bandwidth * link));
        times.fold(f64::INFINITY, f64::min)
    }
}

impl Hops {
    fn time(&self, inside: usize, between: f64) -> f64 {
        self.base + inside as f64 * self.inside + between * self.between
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOLS: [Protocol; 2] = [
        Protocol {
            ring: Hops { base: 1.0, inside: 2.0, between: 10.0 },
            tree: Hops { base: 3.0, inside: 1.0, between: 20.0 },
            bandwidth: 1.0,
        },
        Protocol {
            ring: Hops { base: 0.5, inside: 0.5, between: 5.0 },
            tree: Hops { base: 0.5, inside: 0.5, between: 5.0 },
            bandwidth: 0.25,
        },
    ];

    fn network(protocols: &'static [Protocol]) -> Interconnect {
        Interconnect { per_server: 4, inside: 100.0, between: 50.0, protocols }
    }

    #[test]
    fn a_ring_sends_two_pieces_less_than_twice_the_devices() {
        let network = network(&PROTOCOLS[..1]);
        assert_eq!(network.all_reduce(Algorithm::Ring, 1, 1e9), 0.0);
        // Two devices: one piece each way, each half of the data.
        assert_eq!(network.all_reduce(Algorithm::Ring, 2, 1000.0), 1.0 + 2.0 * 2.0 + 1000.0 / 100.0);
        assert_eq!(network.all_reduce(Algorithm::Ring, 4, 1000.0), 1.0 + 6.0 * 2.0 + 1.5 * 1000.0 / 100.0);
        // Four servers: 30 steps, 6 of which are between servers, at the slower bandwidth.
        let expected = 1.0 + 24.0 * 2.0 + 6.0 * 10.0 + 2.0 * 15.0 / 16.0 * 1000.0 / 50.0;
        assert_eq!(network.all_reduce(Algorithm::Ring, 16, 1000.0), expected);
    }

    #[test]
    fn trees_are_as_deep_as_the_logarithm_of_the_servers() {
        let network = network(&PROTOCOLS[..1]);
        assert_eq!(network.all_reduce(Algorithm::Tree, 4, 1000.0), 3.0 + 6.0 * 1.0 + 2.0 * 1000.0 / 100.0);
        for (servers, levels) in [(2, 1.0), (4, 2.0), (8, 3.0), (9, 4.0)] {
            let expected = 3.0 + 6.0 * 1.0 + 2.0 * levels * 20.0 + 2.0 * 1000.0 / 50.0;
            assert_eq!(network.all_reduce(Algorithm::Tree, 4 * servers, 1000.0), expected);
        }
        let [ring, tree] =
            [Algorithm::Ring, Algorithm::Tree].map(|algorithm| network.all_reduce(algorithm, 4096, 1000.0));
        assert!(tree < ring / 10.0, "{tree} {ring}");
        assert_eq!(network.fastest_all_reduce(4096, 1000.0), tree);
    }

    #[test]
    fn a_gather_sends_each_part_once_around() {
        let network = network(&PROTOCOLS[..1]);
        assert_eq!(network.all_gather(1, 1e9), 0.0);
        assert_eq!(network.all_gather(4, 1000.0), 1.0 + 3.0 * 2.0 + 0.75 * 1000.0 / 100.0);
        assert_eq!(network.all_gather(8, 1000.0), 1.0 + 6.0 * 2.0 + 10.0 + 0.875 * 1000.0 / 50.0);
    }

    #[test]
    fn small_messages_take_the_protocol_of_low_latency() {
        let network = network(&PROTOCOLS);
        assert_eq!(network.all_reduce(Algorithm::Ring, 2, 1.0), 0.5 + 2.0 * 0.5 + 1.0 / 25.0);
        assert_eq!(network.all_reduce(Algorithm::Ring, 2, 1000.0), 1.0 + 2.0 * 2.0 + 1000.0 / 100.0);
    }
}
