# functions/common.yaml and every functions/<capability>/function.yaml, with what they leave out filled in. All resources
# of functions, topics and queues follow from here.

locals {
  common = yamldecode(file("${path.module}/../functions/common.yaml"))
  capability_files = {
    for name in fileset("${path.module}/../functions", "*/function.yaml") :
    dirname(name) => yamldecode(file("${path.module}/../functions/${name}"))
  }
  catalog = {
    region   = local.common.region
    database = local.common.database
    topics   = concat(local.common.topics, flatten([for c in local.capability_files : try(c.topics, [])]))
    queues   = merge([for c in local.capability_files : try(c.queues, {})]...)
    functions = merge([
      for name, c in local.capability_files : { for f, entry in c.functions : f => merge(entry, { capability = name }) }
    ]...)
  }
  region = local.catalog.region
  labels = { app = "kapas", environment = var.environment }

  functions = {
    for name, f in local.catalog.functions : name => {
      capability   = f.capability
      entry_point  = f.entry_point
      routes       = try(f.trigger.routes, [])
      topics       = try(f.trigger.topics, [])
      queue        = try(f.trigger.queue, null)
      schedule     = try(f.trigger.schedule, null)
      kind         = one(setintersection(keys(f.trigger), ["routes", "topics", "queue", "schedule"]))
      concurrency  = f.concurrency
      memory_mb    = f.memory_mb
      timeout      = f.timeout_seconds
      min          = try(var.min_instances[name], f.min_instances)
      max          = f.max_instances
      role         = try(f.database.role, null)
      pool         = try(f.database.pool, 0)
      publishes    = try(f.publishes, [])
      enqueues     = tomap(try(f.enqueues, {}))
      encrypts     = try(f.encrypts, false)
      signs        = try(f.signs, false)
      secrets      = try(f.secrets, [])
      buckets      = try(f.buckets, [])
      woken        = try(f.woken, false)
      documents    = try(f.documents, false)
      fixed_egress = try(f.fixed_egress, false)
    }
  }

  capabilities = toset([for f in local.functions : f.capability])
  relay        = one([for name, f in local.functions : name if f.woken])
  publishers   = [for name, f in local.functions : name if length(f.publishes) > 0]

  # Cloud Run's address of a service is known before the service is there, so a function can be told its own.
  urls = {
    for name in keys(local.functions) : name => "https://${name}-${data.google_project.this.number}.${local.region}.run.app"
  }
}
