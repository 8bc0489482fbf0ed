use proptest::prelude::*;
use serde_json::json;

use super::*;

fn view(info: &Value, clusters: &[&str]) -> (Vec<Instance>, Option<String>) {
    let info: ServiceInfo = serde_json::from_str(&info.to_string()).unwrap();
    let clusters: Vec<String> = clusters.iter().map(|name| (*name).into()).collect();
    let (View::Instances(instances), complaint) = info.into_view(&clusters) else {
        panic!("Nacos does not tell absent services from empty ones");
    };
    (instances, complaint)
}

fn host(ip: &str, port: i64) -> Value {
    json!({ "ip": ip, "port": port, "weight": 1.0, "healthy": true, "enabled": true, "clusterName": "DEFAULT" })
}

fn addresses(hosts: &Value, clusters: &[&str]) -> Vec<String> {
    let (instances, _) = view(&json!({ "hosts": hosts }), clusters);
    instances.iter().map(|instance| instance.address.to_string()).collect()
}

#[test]
fn an_instance_keeps_all_that_nacos_says_of_it() {
    let hosts = json!([{ "instanceId": "x", "ip": "10.0.0.1", "port": 80, "weight": 0.5, "healthy": false,
        "enabled": true, "ephemeral": true, "clusterName": "A", "serviceName": "g@@s",
        "metadata": { "version": "2", "n": 3, "b": true, "gone": null } }]);
    let (instances, complaint) = view(&json!({ "hosts": hosts, "name": "s" }), &[]);
    let metadata = [("b", "true"), ("n", "3"), ("version", "2")];
    assert_eq!(
        instances,
        [Instance {
            address: "10.0.0.1:80".parse().unwrap(),
            weight: 0.5,
            healthy: false,
            enabled: true,
            metadata: metadata
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
        }]
    );
    assert_eq!(complaint, None);
}

#[test]
fn clusters_are_filtered_here() {
    let mut other = host("10.0.0.2", 80);
    other["clusterName"] = "B".into();
    let mut unnamed = host("10.0.0.3", 80);
    unnamed["clusterName"] = Value::Null;
    let hosts = json!([host("10.0.0.1", 80), other, unnamed]);
    assert_eq!(addresses(&hosts, &["B"]), ["10.0.0.2:80"]);
    assert_eq!(addresses(&hosts, &["DEFAULT"]), ["10.0.0.1:80", "10.0.0.3:80"]);
    assert_eq!(addresses(&hosts, &[]).len(), 3);
}

#[test]
fn bad_instances_are_left_out_and_the_rest_stay() {
    let hosts = json!([
        host("10.0.0.1", 0), host("10.0.0.1", 65_536), host("10.0.0.1", -1), host("db.example.com", 80),
        host("", 80), 7, null, "x", [], { "ip": 5, "port": 80 }, { "ip": "10.0.0.1", "port": "80" },
        { "ip": "10.0.0.1", "port": 80, "healthy": "yes" }, host("10.0.0.9", 80), host("::1", 81),
    ]);
    let (instances, complaint) = view(&json!({ "hosts": hosts }), &[]);
    let found: Vec<_> = instances.iter().map(|instance| instance.address.to_string()).collect();
    assert_eq!(found, ["10.0.0.9:80", "[::1]:81"]);
    assert_eq!(complaint.unwrap(), "12 instances left out, the first because 0 is no port");
}

#[test]
fn weights_pass_as_they_are() {
    for (written, read) in [
        (json!(0), 0.0),
        (json!(1e9), 1e9),
        (json!(-3.5), -3.5),
        (json!("Infinity"), f64::INFINITY),
        (json!(null), 1.0),
        (json!("heavy"), 1.0),
    ] {
        assert_eq!(weight(&written), read, "{written}");
    }
    assert!(weight(&json!("NaN")).is_nan());
}

#[test]
fn an_address_that_stands_twice_is_one_whatever_the_order() {
    let mut variants = vec![host("10.0.0.1", 80); 5];
    variants[0]["enabled"] = false.into();
    variants[1]["healthy"] = false.into();
    variants[2]["weight"] = 2.0.into();
    variants[3]["weight"] = "NaN".into();
    let expected = view(&json!({ "hosts": [variants[2]] }), &[]);
    for turn in 0..variants.len() {
        variants.rotate_left(1);
        assert_eq!(view(&json!({ "hosts": variants }), &[]), expected, "turn {turn}");
    }
}

#[test]
fn much_metadata_is_cut_short() {
    let mut many = host("10.0.0.1", 80);
    many["metadata"] = (0..100).map(|n| (format!("k{n:03}"), json!("v"))).collect();
    let mut large = host("10.0.0.2", 80);
    large["metadata"] = json!({ "a": "x".repeat(1 << 20), "b": "kept" });
    let (instances, complaint) = view(&json!({ "hosts": [many, large] }), &[]);
    assert_eq!(instances[0].metadata.len(), METADATA_KEYS);
    assert!(instances[0].metadata.contains_key("k063"));
    assert_eq!(instances[1].metadata, BTreeMap::from([("b".into(), "kept".into())]));
    assert_eq!(complaint.unwrap(), "metadata of 2 instances cut short");
}

#[test]
fn a_reached_protection_threshold_is_said() {
    let (_, complaint) = view(&json!({ "hosts": [], "reachProtectionThreshold": true }), &[]);
    assert!(complaint.unwrap().contains("protection threshold"));
}

proptest! {
    /// Whatever JSON stands where the instances should, the good one among them is found.
    #[test]
    fn nothing_hides_a_good_instance(junk in json_value()) {
        let good = host("10.0.0.9", 80);
        let found = addresses(&json!([junk.clone(), good, { "ip": "10.0.0.8", "port": 80, "metadata": junk }]), &[]);
        prop_assert!(found.contains(&"10.0.0.9:80".to_owned()));
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let key = prop_oneof!["ip", "port", "weight", "metadata", "[a-z]{1,4}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().collect::<Value>()),
        ]
    })
}
