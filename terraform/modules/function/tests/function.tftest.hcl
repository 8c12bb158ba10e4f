variables {
  name            = "trade-events"
  project_id      = "kapas-test"
  location        = "asia-south1"
  capability      = "trade_events"
  entry_point     = "trade_events"
  bundle          = { bucket = "bundles", object = "trade_events-1.zip" }
  build           = { service_account = "builder", repository = "functions", kms_key = "key" }
  service_account = "trade-events@kapas-test.iam.gserviceaccount.com"
  environment     = { FUNCTION = "trade-events" }
  concurrency     = 16
  memory_mb       = 512
  timeout_seconds = 30
  min_instances   = 0
  max_instances   = 3
  public          = false
  invokers        = {}
}

run "private_by_default" {
  command = plan

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY"
    error_message = "A function without routes takes calls from within the project only."
  }
  assert {
    condition     = length(google_cloudfunctions2_function.this.service_config[0].direct_vpc_network_interface) == 0
    error_message = "Without a network the function has no interface in one."
  }
  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.invoker) == 0
    error_message = "Nobody calls a function unless they are named."
  }
}

run "public_behind_the_load_balancer" {
  command = plan

  variables {
    public   = true
    invokers = { everybody = "allUsers" }
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].ingress_settings == "ALLOW_INTERNAL_AND_GCLB"
    error_message = "A function with routes is reached through the load balancer only."
  }
}

run "all_traffic_through_the_network" {
  command = plan

  variables {
    network = { network = "kapas", subnetwork = "functions", all_traffic = true }
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].direct_vpc_egress == "VPC_EGRESS_ALL_TRAFFIC"
    error_message = "What partners allow by address leaves through the NAT."
  }
}

run "refuses_everybody_on_a_private_function" {
  command         = plan
  expect_failures = [var.invokers]

  variables {
    invokers = { everybody = "allUsers" }
  }
}

run "refuses_fewer_instances_at_most_than_at_least" {
  command         = plan
  expect_failures = [var.max_instances]

  variables {
    min_instances = 4
  }
}
