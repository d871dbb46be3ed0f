//! The node's addresses, and what joins it to this machine.

/// The link on this machine's side.
pub(super) const HOST_LINK: &str = "vsnode-host";
/// The link on the node's side.
pub(super) const NODE_LINK: &str = "vsnode0";
/// This machine, seen from the node and its Pods. What listens here is reached by them.
pub const HOST_ADDRESS: &str = "10.199.0.1";
/// The node.
pub(super) const NODE_ADDRESS: &str = "10.199.0.2";
/// Both ends of the link.
const LINK_PREFIX: u32 = 30;
/// The Pods.
pub(super) const PODS: &str = "10.199.64.0/24";
/// The Services.
pub(super) const SERVICES: &str = "10.199.128.0/24";
/// The Service of the API server.
pub(super) const API_SERVICE: &str = "10.199.128.1";
/// All of them, as the first two bytes.
const RANGE: [u8; 2] = [10, 199];

/// The calls of `ip` that lay the link between this machine and the network namespace of `process`, and the way to the Pods.
pub(super) fn link_up(process: u32) -> Vec<Vec<String>> {
    let words = |text: String| text.split(' ').map(str::to_owned).collect();
    [
        format!("link add {HOST_LINK} type veth peer name {NODE_LINK} netns {process}"),
        format!("addr add {HOST_ADDRESS}/{LINK_PREFIX} dev {HOST_LINK}"),
        format!("link set {HOST_LINK} up"),
        format!("route add {PODS} via {NODE_ADDRESS}"),
        format!("route add {SERVICES} via {NODE_ADDRESS}"),
    ]
    .map(words)
    .into()
}

/// The same inside of the namespace, for its first process.
pub(super) fn link_inside() -> String {
    format!(
        "ip link set lo up && ip addr add {NODE_ADDRESS}/{LINK_PREFIX} dev {NODE_LINK} && ip link set {NODE_LINK} up && \
         ip route add default via {HOST_ADDRESS}"
    )
}

/// The first route of `ip -4 route` (by whom it is, at the end of its line) that is in the way of the node's addresses.
pub(super) fn taken(routes: &str) -> Option<&str> {
    routes.lines().map(str::trim).find(|line| {
        let to = line.split_whitespace().next().unwrap_or_default();
        overlaps(to) && !line.contains(HOST_LINK)
    })
}

/// Whether a destination such as `10.0.0.0/8` has an address of ours. The default route has all and is in nobody's way.
fn overlaps(destination: &str) -> bool {
    let (address, prefix) = destination.split_once('/').unwrap_or((destination, "32"));
    let (Ok(address), Ok(prefix)) = (address.parse::<std::net::Ipv4Addr>(), prefix.parse::<u32>()) else {
        return false;
    };
    let bits = prefix.min(16);
    let ours = u32::from_be_bytes([RANGE[0], RANGE[1], 0, 0]);
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    (u32::from(address) ^ ours) & mask == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_route_to_our_addresses_is_in_the_way_unless_it_is_ours() {
        let free = "default via 192.168.1.1 dev eth0\n10.198.0.0/16 dev a\n10.0.0.0/9 dev b\n192.168.1.0/24 dev eth0";
        assert_eq!(taken(free), None);
        for busy in ["10.199.0.0/16 dev vpn", "10.0.0.0/8 dev vpn", "10.199.3.0/24 dev vpn", "10.199.1.1 dev vpn"] {
            let routes = format!("{free}\n{busy}");
            assert_eq!(taken(&routes), Some(busy));
        }
        assert_eq!(taken("10.199.64.0/24 via 10.199.0.2 dev vsnode-host"), None);
    }

    #[test]
    fn every_address_is_within_the_range_that_is_checked() {
        for address in [HOST_ADDRESS, NODE_ADDRESS, PODS, SERVICES, API_SERVICE] {
            assert!(overlaps(address), "{address}");
        }
    }

    #[test]
    fn the_link_leads_into_the_namespace_of_the_process() {
        let calls: Vec<String> = link_up(42).iter().map(|call| call.join(" ")).collect();
        assert_eq!(calls[0], "link add vsnode-host type veth peer name vsnode0 netns 42");
        assert!(calls.contains(&"route add 10.199.64.0/24 via 10.199.0.2".to_owned()), "{calls:?}");
    }
}
