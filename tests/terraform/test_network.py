"""Clients come in through Cloud Armor; functions reach the database privately, and partners from one address."""

import ipaddress

from tests.terraform.deployed import Deployed


def _paths(deployed: Deployed) -> dict[str, str]:
    """Path -> function, as the load balancer routes."""
    (matcher,) = deployed.one("compute_region_url_map")["path_matcher"]
    return {path: rule["service"].rpartition("/")[2] for rule in matcher["path_rule"] for path in rule["paths"]}


def test_each_route_leads_to_its_function(deployed: Deployed) -> None:
    expected = {
        path: name
        for name, function in deployed.functions("http").items()
        for route in function.trigger.routes
        for path in (route, f"{route}/*")
    }
    assert _paths(deployed) == expected


def test_each_backend_is_behind_cloud_armor(deployed: Deployed) -> None:
    policy = deployed.one("compute_region_security_policy")
    backends = deployed.values("compute_region_backend_service")
    assert {backend["name"] for backend in backends} == set(deployed.functions("http"))
    for backend in backends:
        assert backend["security_policy"] == policy["self_link"], backend["name"]
        assert backend["load_balancing_scheme"] == "EXTERNAL_MANAGED", backend["name"]
        assert backend["log_config"][0]["enable"] is True, backend["name"]


def test_cloud_armor_denies_attacks_and_limits_each_address(deployed: Deployed) -> None:
    rules = sorted(deployed.one("compute_region_security_policy")["rules"], key=lambda rule: rule["priority"])
    denied = [rule for rule in rules if rule["action"] == "deny(403)"]
    attacks = {rule["match"][0]["expr"][0]["expression"].split("'")[1].split("-")[0] for rule in denied}
    assert attacks >= {"sqli", "xss", "lfi", "rce", "protocolattack"}
    assert not any(rule["preview"] for rule in rules)
    (limit,) = [rule for rule in rules if rule["action"] == "throttle"]
    options = limit["rate_limit_options"][0]
    assert options["enforce_on_key"] == "IP"
    assert options["exceed_action"] == "deny(429)"
    assert options["rate_limit_threshold"][0]["count"] / options["rate_limit_threshold"][0]["interval_sec"] <= 50
    # A rule that lets everything pass ends the search, so attacks are looked for first.
    assert max(rule["priority"] for rule in denied) < limit["priority"] < rules[-1]["priority"] == 2**31 - 1


def test_clients_speak_tls_1_2_or_later_and_nothing_else(deployed: Deployed) -> None:
    policy = deployed.one("compute_region_ssl_policy")
    proxy = deployed.one("compute_region_target_https_proxy")
    assert policy["min_tls_version"] == "TLS_1_2"
    assert policy["profile"] == "RESTRICTED"
    assert proxy["ssl_policy"] == policy["id"]
    assert proxy["certificate_manager_certificates"] == [deployed.one("certificate_manager_certificate")["id"]]
    assert {rule["port_range"] for rule in deployed.values("compute_forwarding_rule")} == {"443"}
    assert not deployed.of("compute_region_target_http_proxy")


def test_the_load_balancer_has_room_for_its_proxies(deployed: Deployed) -> None:
    (proxies,) = [s for s in deployed.values("compute_subnetwork") if s["purpose"] == "REGIONAL_MANAGED_PROXY"]
    assert ipaddress.ip_network(proxies["ip_cidr_range"]).prefixlen <= 23
    assert proxies["role"] == "ACTIVE"


def test_no_two_ranges_overlap(deployed: Deployed) -> None:
    ranges = [ipaddress.ip_network(s["ip_cidr_range"]) for s in deployed.values("compute_subnetwork")]
    private = deployed.one("compute_global_address")
    ranges.append(ipaddress.ip_network(f"{private['address']}/{private['prefix_length']}"))
    assert not [(a, b) for i, a in enumerate(ranges) for b in ranges[i + 1 :] if a.overlaps(b)]


def test_the_functions_subnetwork_has_addresses_for_all_instances(deployed: Deployed) -> None:
    """Direct VPC egress takes up to four addresses an instance while revisions change."""
    (subnetwork,) = [s for s in deployed.values("compute_subnetwork") if s["purpose"] != "REGIONAL_MANAGED_PROXY"]
    instances = sum(s["max_instance_count"] for s in deployed.services.values() if s["direct_vpc_network_interface"])
    assert 4 * instances <= ipaddress.ip_network(subnetwork["ip_cidr_range"]).num_addresses - 4
    assert subnetwork["private_ip_google_access"] is True


def test_functions_that_call_partners_leave_by_the_reserved_address(deployed: Deployed) -> None:
    nat, router = deployed.one("compute_router_nat"), deployed.one("compute_router")
    (address,) = [a for a in deployed.values("compute_address") if a["name"] == "webhook-egress"]
    assert nat["nat_ip_allocate_option"] == "MANUAL_ONLY"
    assert nat["nat_ips"] == [address["self_link"]]
    assert nat["router"] == router["name"]
    (network,) = deployed.values("compute_network")
    for name, function in deployed.catalog.functions.items():
        service = deployed.services[name]
        interfaces = service["direct_vpc_network_interface"]
        if function.fixed_egress:
            assert service["direct_vpc_egress"] == "VPC_EGRESS_ALL_TRAFFIC", name
        if function.fixed_egress or function.database:
            assert [interface["network"] for interface in interfaces] == [network["name"]], name
    (subnetwork,) = [s for s in deployed.values("compute_subnetwork") if s["name"] == "functions"]
    assert [s["name"] for s in nat["subnetwork"]] == [subnetwork["id"]]


def test_calls_between_functions_stay_in_the_network(deployed: Deployed) -> None:
    zone, record = deployed.one("dns_managed_zone"), deployed.one("dns_record_set")
    assert (zone["dns_name"], zone["visibility"]) == ("run.app.", "private")
    private_google = ipaddress.ip_network("199.36.153.8/30")
    assert record["name"] == "*.run.app."
    assert {ipaddress.ip_address(a) for a in record["rrdatas"]} == set(private_google)


def test_the_network_is_not_made_by_google(deployed: Deployed) -> None:
    assert deployed.one("compute_network")["auto_create_subnetworks"] is False
