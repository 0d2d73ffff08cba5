"""Kubernetes: faults that show in the events of a namespace (`Reason: message` on an object)."""

from l2s.tasks.aiops.records import Family, Harmless, RedHerring, Style, info, say, warn

FAMILIES = (
    Family(
        cause="image_missing",
        component=say("deployment {svc}|{svc}", "部署 {svc}|{svc}"),
        evidence=(
            say(
                "registry answers manifest unknown|manifest unknown|manifest",
                "镜像仓库返回 manifest unknown|manifest unknown|manifest",
            ),
            say(
                "pull of {svc}:{version} fails|{svc}:{version}|{version}",
                "拉取 {svc}:{version} 失败|{svc}:{version}|{version}",
            ),
        ),
        remediation=say(
            "set a published tag or push the image|correct the tag|fix the tag|published tag|existing tag|valid tag|"
            "push the image|publish the image|build the image|roll back|rollback",
            "改用已发布的标签或推送镜像|修正标签|改用|正确的标签|有效标签|推送镜像|发布镜像|构建镜像|回滚",
        ),
        may_mention=("bad_config", "bad_release"),
        clues=(
            info("deployment/{svc}", "Updated: template now runs registry.local/{svc}:{version}"),
            warn("pod/{pod}", "Failed: pull registry.local/{svc}:{version}: manifest unknown"),
        ),
        symptoms=(
            warn("pod/{pod}", "BackOff: back-off pulling registry.local/{svc}:{version}"),
            warn("pod/{pod}", "Failed: ErrImagePull"),
            warn("deployment/{svc}", "ProgressDeadlineExceeded: {n} replicas not ready"),
            warn("endpoints/{svc}", "NoEndpoints: service has no ready address"),
        ),
    ),
    Family(
        cause="memory_limit",
        component=say("container of {svc}|{svc}", "{svc} 的容器|{svc}"),
        evidence=(
            say("exit code 137|137", "退出码 137|137"),
            say("working set {size}Mi of {size}Mi|{size}", "工作集 {size}Mi/{size}Mi|{size}"),
        ),
        remediation=say(
            "raise the limit or reduce the memory use|raise the limit|raise the memory limit|increase the memory|"
            "increase memory|increase the limit|more memory|higher limit|reduce memory|reduce the memory",
            "提高上限或降低内存用量|提高上限|提高内存|调大内存|增加内存|提高限制|降低内存|减少内存",
        ),
        may_mention=("memory_exhausted", "heap_leak"),
        clues=(
            info("pod/{pod}", "Metrics: working set {size}Mi, ceiling {size}Mi"),
            warn("pod/{pod}", "Terminated: container main, exit code 137, ran {minutes} min"),
        ),
        symptoms=(
            warn("pod/{pod}", "BackOff: restarting container main, count {n}"),
            warn("pod/{pod}", "Unhealthy: readiness probe got no answer"),
            warn("ingress/{client}", "Upstream: 503 from {svc}"),
            warn("hpa/{svc}", "FailedGetMetrics: {n} pods without metrics"),
        ),
    ),
    Family(
        cause="cluster_capacity",
        component=say("pod of {svc}|{svc}", "{svc} 的 Pod|{svc}"),
        evidence=(
            say(
                "the pod stays Pending|Pending|FailedScheduling|unschedulable|cannot be scheduled",
                "Pod 一直 Pending|Pending|FailedScheduling|无法调度|调度失败",
            ),
            say("request of {count}m against {n1}m free|{count}|{n1}", "请求 {count}m 而空闲仅 {n1}m|{count}|{n1}"),
        ),
        remediation=say(
            "add nodes or lower the request|add nodes|add a node|more nodes|scale the cluster|autoscaler|"
            "lower the request|reduce the request|reduce requests|smaller request",
            "增加节点或降低请求|增加节点|扩容|扩展集群|自动伸缩|降低请求|减小请求|调低请求",
        ),
        clues=(
            warn("pod/{pod}", "FailedScheduling: 0/6 nodes fit, requested cpu {count}m"),
            info("node/{node}", "Allocatable: largest free cpu share {n1}m"),
        ),
        symptoms=(
            warn("deployment/{svc}", "Unavailable: {n} replicas Pending for {minutes} min"),
            warn("hpa/{svc}", "DesiredNotReached: target utilisation exceeded"),
            warn("ingress/{client}", "Slow: p99 {ms} ms at {svc}"),
            warn("pod/{pod}", "NotTriggerScaleUp: node group at its maximum size"),
        ),
    ),
    Family(
        cause="probe_wrong",
        component=say("deployment {svc}|{svc}", "部署 {svc}|{svc}"),
        evidence=(
            say("the probe dials port {port}|{port}", "探针访问端口 {port}|{port}"),
            say("the container listens on port {port2}|{port2}", "容器监听端口 {port2}|{port2}"),
        ),
        remediation=say(
            "point it at port {port2}|{port2}|correct the port|fix the port|correct the probe|fix the probe|"
            "update the probe|adjust the probe|change the probe",
            "改为检查端口 {port2}|{port2}|修正端口|修正探针|更正探针|更新探针|调整探针|修改探针",
        ),
        may_mention=("bad_config",),
        clues=(
            info("pod/{pod}", "Started: container main, listening on :{port2}, ready in {n} ms"),
            warn("pod/{pod}", "Unhealthy: liveness GET :{port}/live: refused"),
        ),
        symptoms=(
            info("pod/{pod}", "Killing: container main will be restarted"),
            warn("pod/{pod}", "BackOff: restarting container main, count {n}"),
            warn("ingress/{client}", "Upstream: {svc} flapping, {n} resets"),
            info("pod/{pod}", "Logs: served {n} requests before SIGTERM"),
        ),
    ),
    Family(
        cause="secret_missing",
        component=say("{svc}", "{svc}"),
        evidence=(
            say(
                "{secret} cannot be found|{secret}|not found|could not be found",
                "找不到 {secret}|{secret}|找不到|未找到",
            ),
            say(
                "the pod hangs in ContainerCreating|ContainerCreating|CreateContainerConfigError|FailedMount|"
                "MountVolume",
                "Pod 停留在 ContainerCreating|ContainerCreating|CreateContainerConfigError|FailedMount|MountVolume",
            ),
        ),
        remediation=say(
            "create {secret} in the namespace|create {secret}|create the|recreate|add the|restore the|apply the|"
            "correct the name|correct the reference",
            "在命名空间中创建 {secret}|创建|重新创建|补建|恢复|添加|修正名称|修正引用",
        ),
        may_mention=("bad_config",),
        clues=(
            warn("pod/{pod}", "FailedMount: MountVolume creds: prod/{secret} not found"),
            info("deployment/{svc}", "Updated: volume creds now reads {secret}"),
        ),
        symptoms=(
            warn("pod/{pod}", "Waiting: ContainerCreating for {minutes} min"),
            warn("deployment/{svc}", "ProgressDeadlineExceeded: {n} replicas not ready"),
            warn("pod/{pod}", "FailedMount: timed out waiting for volumes creds"),
            warn("ingress/{client}", "Upstream: no ready address for {svc}"),
        ),
        held_out=True,
    ),
    Family(
        cause="volume_attached_elsewhere",
        component=say("volume {volume}|{volume}", "卷 {volume}|{volume}"),
        evidence=(
            say(
                "Multi-Attach error|Multi-Attach|FailedAttachVolume",
                "Multi-Attach 错误|Multi-Attach|FailedAttachVolume",
            ),
            say("{node} was lost while it used the volume|{node}", "{node} 在使用该卷时失联|{node}"),
        ),
        remediation=say(
            "detach it from {node} by deleting the VolumeAttachment|detach|VolumeAttachment|force delete|force-delete|"
            "delete the old pod|remove the attachment",
            "删除 VolumeAttachment 将其从 {node} 卸载|卸载|分离|VolumeAttachment|强制删除|删除旧 Pod",
        ),
        may_mention=("node_failure",),
        clues=(
            warn("node/{node}", "NodeNotReady: kubelet silent for {minutes} min, held {volume}"),
            warn("pod/{pod}", "FailedAttachVolume: Multi-Attach for {volume}"),
        ),
        symptoms=(
            warn("pod/{pod}", "FailedMount: timed out waiting for {volume}"),
            warn("statefulset/{svc}", "Waiting: replica 0 not ready for {minutes} min"),
            warn("ingress/{client}", "Upstream: no ready address for {svc}"),
            info("pod/{pod}", "Scheduled: assigned to {host}"),
        ),
        held_out=True,
    ),
)

BACKGROUND = (
    info("pod/{otherpod}", "Scheduled: assigned to {host}"),
    info("pod/{otherpod}", "Pulled: image {other}:{version2} present on machine"),
    info("pod/{otherpod}", "Created: container main"),
    info("pod/{otherpod}", "Started: container main"),
    info("deployment/{other}", "ScalingReplicaSet: scaled up to {n}"),
    info("job/cleanup-{n}", "Completed: job finished in {ms} ms"),
    info("cronjob/backup", "SuccessfulCreate: created job backup-{n}"),
    info("hpa/{other}", "SuccessfulRescale: new size {n}, cpu below target"),
    info("node/{host}", "NodeReady: kubelet posts ready status"),
    info("deployment/{other}", "ScalingReplicaSet: scaled down to {n}"),
    info("pvc/data-{n}", "ProvisioningSucceeded: bound to pv-{hex}"),
    info("cert/{other}", "Issued: renewed until {day}"),
)

HARMLESS = (
    Harmless(
        say("the readiness probe during start-up|readiness|start-up|startup", "启动期间的就绪探针|就绪探针|启动期间"),
        (
            warn("pod/{otherpod}", "Unhealthy: readiness GET :8080/ready 503 during start-up"),
            info("pod/{otherpod}", "Ready: passed at attempt 2"),
        ),
    ),
    Harmless(
        say(
            "the eviction by the rebalancer|eviction|evicted|rebalancer|descheduler|drain",
            "再平衡引起的驱逐|驱逐|再平衡|排空",
        ),
        (
            warn("pod/{otherpod}", "Evicted: by descheduler to balance {host}"),
            info("pod/{otherpod}", "Started: replacement runs on {host}, {n} s"),
        ),
    ),
    Harmless(
        say(
            "the name conflict of a finished job|AlreadyExists|already exists|name conflict|job name",
            "已完成任务的重名|AlreadyExists|重名|已存在",
        ),
        (
            warn("cronjob/report", "AlreadyExists: job report-{n} was run, skipped"),
            warn("cronjob/report", "AlreadyExists: job report-{n} was run, skipped"),
        ),
    ),
    Harmless(
        say("the deprecated API version|deprecated|deprecation|v1beta1", "弃用的 API 版本|弃用|v1beta1"),
        (
            warn("ingress/{other}", "Deprecated: v1beta1 served until release 1.{n}"),
            warn("hpa/{other}", "Deprecated: v2beta2 served until release 1.{n}"),
        ),
    ),
)

RED_HERRINGS = (
    RedHerring(
        "node_failure",
        (
            warn("node/spot-{n}", "NodeNotReady: kubelet stopped posting status"),
            warn("node/spot-{n}", "NodeNotReady: kubelet stopped posting status"),
            warn("pod/batch-{hex}", "NodeLost: machine spot-{n} gone"),
            warn("node/spot-{n}", "Shutdown: machine reclaimed"),
            info("job/batch-{n}", "Completed: spot machines were returned as planned, all {n} tasks done"),
        ),
    ),
    RedHerring(
        "bad_release",
        (
            warn("pod/lab-{hex}", "BackOff: restarting container demo, count {n}"),
            warn("pod/lab-{hex}", "Error: container demo, exit code 1"),
            warn("pod/lab-{hex}", "BackOff: restarting container demo, count {n}"),
            warn("pod/lab-{hex}", "Error: container demo, exit code 1"),
            info("namespace/lab", "Deleted: sandbox {hex} of user {user} closed, nothing depends on it"),
        ),
    ),
)

STYLE = Style(
    name="kubernetes",
    title=say("Kubernetes event log of namespace prod", "命名空间 prod 的 Kubernetes 事件"),
    max_lines=30,
    background=BACKGROUND,
    harmless=HARMLESS,
    red_herrings=RED_HERRINGS,
    families=FAMILIES,
)
