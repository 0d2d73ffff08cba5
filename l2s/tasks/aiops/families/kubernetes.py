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
            "push the image|publish the image|build the image|roll back|rollback|[correct/fix/change/update/set/use/"
            "correcting/fixing] … [tag/image/version/image tag/manifest]|[push/publish/build/upload/pushing/"
            "publishing/rebuild] … [image/tag/version/{version}/it]|[existing/valid/correct/published/available/"
            "previous] [tag/image/version/image tag]|[rolling back/revert]|[push/publish/build/upload/fix/correct/"
            "change/revert/set/use/go back/roll back] & [tag/image/version/previous/deployment/manifest]|push it",
            "改用已发布的标签或推送镜像|修正标签|改用|正确的标签|有效标签|推送镜像|发布镜像|构建镜像|回滚|[修正/更正/"
            "修改/改用/更新/使用/改为]…[标签/镜像/版本/tag]|[推送/发布/构建/上传/补推]…[镜像/版本/标签]|[回退/回滚/"
            "正确标签/已存在的标签]|[推/推送/发布/构建/改/修正/改用/重新推送/补推] & [镜像/tag/标签/版本]",
        ),
        also=say(
            "[{version}/{svc}:{version}/version {version}/tag {version}] ~ [does not exist/doesn't exist/missing/not "
            "found/not in the registry/not pushed/never pushed/not published/was never published/was never pushed/"
            "nonexistent/non-existent/unavailable/wrong/invalid/not available]|[missing/wrong/nonexistent/unpublished/"
            "invalid/bad/unknown] {svc}:{version}|[wrong/missing/nonexistent/invalid/bad] version|manifest ~ [missing/"
            "does not exist]",
            "[{version}/{svc}:{version}/版本]~[不存在/未找到/找不到/错误/未发布/未推送/缺失/无效]|[错误/不存在]的版本",
        ),
        may_mention=("bad_config", "bad_release"),
        clues=(
            info("deployment/{svc}", "Updated: template now runs registry.local/{svc}:{version}"),
            warn("pod/{pod}", "Failed: pull registry.local/{svc}:{version}: manifest unknown"),
        ),
        symptoms=(
            warn("pod/{pod}", "Failed: ErrImagePull"),
            warn("pod/{pod}", "BackOff: back-off pulling registry.local/{svc}:{version}"),
            warn("deployment/{svc}", "ProgressDeadlineExceeded: {some_replicas} of {replicas} replicas not ready"),
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
            "increase memory|increase the limit|more memory|higher limit|reduce memory|reduce the memory|[raise/"
            "increase/higher/raising/increasing/larger/adjust/bump/lift/more] … [limit/memory/memory limit/limits/"
            "ceiling/{size}Mi]|[reduce/lower/optimise/optimize/reducing/fix/cut] … [memory/memory use/memory usage/"
            "leak/footprint/consumption]|[raise/increase/higher/bump/lift/cut/optimise/optimize/reduce/lower] & "
            "[limit/memory/usage/use/leak/footprint]",
            "提高上限或降低内存用量|提高上限|提高内存|调大内存|增加内存|提高限制|降低内存|减少内存|[提高/调大/增加/"
            "增大/调高/上调/扩大/放宽]…[上限/限制/内存/limit/limits/限额]|[降低/减少/优化/排查]…[内存/用量/占用/泄漏]|"
            "[调高/提高/增大/调大/优化/排查/降低/放宽] & [limit/限制/上限/内存/占用/增长]",
        ),
        also=say(
            "[out of memory/OOM/ran out of memory/running out of memory/memory exhausted/memory exhaustion]|memory ~ "
            "[exceeded/exhausted/insufficient/at the limit/at its limit/at the ceiling/too low]|[insufficient/not "
            "enough] memory|[limit/ceiling] of {size}Mi|[{size}Mi/{size} Mi] [limit/ceiling] ~ [too low/reached/"
            "exceeded/hit]|[hit/reached/exceeded] ~ [limit/ceiling/{size}Mi]",
            "内存[不足/耗尽/溢出/用尽/不够/超出]|OOM|[达到/超过/超出]~[上限/限制/{size}Mi]|{size}Mi~[过小/过低/上限]",
        ),
        may_mention=("memory_exhausted", "heap_leak"),
        clues=(
            info("pod/{pod}", "Metrics: working set {size}Mi, ceiling {size}Mi"),
            warn("pod/{pod}", "Terminated: container main, exit code 137, ran {minutes} min"),
        ),
        symptoms=(
            warn("pod/{pod}", "BackOff: restarting container main, count {restarts}"),
            warn("pod/{pod}", "Unhealthy: readiness probe got no answer"),
            warn("ingress/{client}", "Upstream: 503 from {svc}"),
            warn("hpa/{svc}", "FailedGetMetrics: {some_replicas} of {replicas} pods without metrics"),
        ),
    ),
    Family(
        cause="cluster_capacity",
        component=say("pod of {svc}|{svc}", "{svc} 的 Pod|{svc}"),
        evidence=(
            say(
                "the pod stays Pending|Pending|FailedScheduling|unschedulable|cannot be scheduled|0/6|nowhere|can't "
                "be scheduled|[scheduler/scheduling] & [fails/failed/cannot/can't/nowhere]",
                "Pod 一直 Pending|Pending|FailedScheduling|无法调度|调度失败|0/6|调度不上",
            ),
            say(
                "request of {count}m against {free_cpu}m free|{count}|{free_cpu}",
                "请求 {count}m 而空闲仅 {free_cpu}m|{count}|{free_cpu}",
            ),
        ),
        remediation=say(
            "add nodes or lower the request|add nodes|add a node|more nodes|scale the cluster|autoscaler|lower the "
            "request|reduce the request|reduce requests|smaller request|[add/adding/more/additional/provision/larger/"
            "bigger/new] … [nodes/node/capacity/CPU/machines/workers/node pool]|[scale/scaling/expand/grow/enlarge/"
            "increase/raise] … [cluster/node group/nodes/capacity/maximum size/node pool]|[lower/reduce/decrease/"
            "smaller/lowering/reducing/cut/adjust] … [request/requests/CPU request/CPU requests]|[free up/"
            "reclaim] … [CPU/capacity]|[add/more/larger/raise/scale/extend/grow] & [nodes/node/node group/cluster/"
            "capacity/maximum]|[lower/reduce/shrink/cut/decrease] & [request/requests/CPU request]",
            "增加节点或降低请求|增加节点|扩容|扩展集群|自动伸缩|降低请求|减小请求|调低请求|[增加/添加/扩容/扩展/扩大/"
            "新增/增大]…[节点/集群/容量/CPU/节点组/机器]|[降低/减小/减少/调低/调整/缩小]…[请求/CPU 请求/request]|"
            "[扩节点/释放资源/释放 CPU]|[加/增加/扩/扩容/添加] & [节点/集群/节点组/容量/资源]|[降/降低/调低/减小/"
            "减少] & [request/请求/requests/资源请求]",
        ),
        also=say(
            "[insufficient/not enough/lack of/lacks/no] [resources/schedulable resources/compute resources/free "
            "capacity]|resource [shortage/exhaustion/constraints]|[no node/no nodes] ~ [fits/fit/can fit/can host/"
            "satisfies/suitable]|request ~ [too large/too high/too big]|[requests/requested/request of] {count}m|"
            "[nodes/node group/cluster] ~ [exhausted/full]|no room for ~ pod",
            "[资源不足/资源耗尽/资源不够/容量不足/资源紧张]|请求~[过大/过高]|[没有/无]节点~[可用/满足/容纳]|"
            "无可用节点|没有可用节点|没有合适节点|没有合适的节点|无法满足~请求",
        ),
        clues=(
            warn("pod/{pod}", "FailedScheduling: 0/6 nodes fit, requested cpu {count}m"),
            info("node/{node}", "Allocatable: largest free cpu share {free_cpu}m"),
        ),
        symptoms=(
            warn("deployment/{svc}", "Unavailable: {some_replicas} of {replicas} replicas Pending for {minutes} min"),
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
            "point it at port {port2}|correct the port|fix the port|correct the probe|fix the probe|update "
            "the probe|adjust the probe|change the probe|[correct/fix/change/update/adjust/set/point/correcting/"
            "fixing/changing/reconfigure/align] … [probe/port/port {port2}/{port2}/liveness/health check/check]|"
            "[probe/use/to] port {port2}|[correct/fix/change/point/set/update/align/move] & [probe/port/liveness]",
            "改为检查端口 {port2}|修正端口|修正探针|更正探针|更新探针|调整探针|修改探针|[修正/更正/修改/更新/"
            "调整/改正/修复/配置/改为]…[探针/端口/健康检查/{port2}]|[指向/改成/改到] ~{port2}|[改/改成/修改/修正/调整/"
            "更正] & [探针/端口/livenessProbe]",
        ),
        also=say(
            "[wrong/incorrect/mismatched/bad/different] port|port [mismatch/misconfiguration/configuration]|[probe/"
            "liveness] ~ [{port}/port {port}] ~ instead of ~ {port2}|[{port}/port {port}] instead of ~ {port2}|ports "
            "do not match|{port} [while/but/whereas/although] … [listens/is listening] … {port2}|[probe/liveness/"
            "check] ~ misconfigured",
            "端口[不匹配/不一致/错误/配置错误/不对/不符/有误]|错误端口|错误的端口|探针~配置|[{port}/端口 "
            "{port}]~[而非/而不是/应为]~{port2}|{port}…而容器…{port2}",
        ),
        may_mention=("bad_config",),
        clues=(
            info("pod/{pod}", "Started: container main, listening on :{port2}, ready in {n} ms"),
            warn("pod/{pod}", "Unhealthy: liveness GET :{port}/live: refused"),
        ),
        symptoms=(
            info("pod/{pod}", "Killing: container main will be restarted"),
            warn("pod/{pod}", "BackOff: restarting container main, count {restarts}"),
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
                "MountVolume|can't start|cannot start|mount fails|[pod/pods/container] & [stuck/never/waiting/hangs]|"
                "mount ~ failed",
                "Pod 停留在 ContainerCreating|ContainerCreating|CreateContainerConfigError|FailedMount|MountVolume|"
                "起不来|挂载失败|卡在|无法启动",
            ),
        ),
        remediation=say(
            "create {secret} in the namespace|create {secret}|create the|recreate|add the|restore the|apply the|"
            "correct the name|correct the reference|[create/creating/recreate/add/apply/restore/deploy/provision/"
            "recreating/adding/supply/define] … [secret/{secret}/credentials/it]|[correct/fix/change/update] … [name/"
            "reference/volume/secret name/mount]|[roll back/rollback/revert]|[create/add/restore/apply/supply/make/"
            "provision/recreate] & [secret/{secret}/it]|[fix/correct/change/revert/go back/update] & [reference/name/"
            "secret name/volume]",
            "在命名空间中创建 {secret}|创建|重新创建|补建|恢复|添加|修正名称|修正引用|[创建/新建/补建/重新创建/添加/"
            "恢复/补充/部署/提供]…[Secret/{secret}/密钥/凭据]|[修正/更正/修改]…[名称/引用/名字/挂载]|[回滚/新建]|"
            "[创建/补建/新建/建/添加/恢复] & [Secret/{secret}/密钥]|[修正/改回/改/更正] & [引用/名称/原名/名字]",
        ),
        also=say(
            "{secret} ~ [missing/absent/not created/does not exist/doesn't exist/nonexistent/never created/not "
            "present/deleted/not available/unavailable]|[missing/nonexistent/absent/no] {secret}|[missing/nonexistent/"
            "absent] [credentials/creds/reference]|[credentials/creds] ~ missing|[references/references a/reference "
            "to a] [missing/nonexistent/non-existent] object",
            "{secret}~[缺失/不存在/未创建/丢失/未找到/找不到/被删除/没有创建]|[缺少/没有/缺失/找不到] {secret}|[缺少/"
            "缺失]凭据",
        ),
        may_mention=("bad_config",),
        clues=(
            info("deployment/{svc}", "Updated: volume creds now reads {secret}"),
            warn("pod/{pod}", "FailedMount: MountVolume creds: prod/{secret} not found"),
        ),
        symptoms=(
            warn("pod/{pod}", "Waiting: ContainerCreating for {minutes} min", after="{minutes} min"),
            warn("deployment/{svc}", "ProgressDeadlineExceeded: {some_replicas} of {replicas} replicas not ready"),
            warn("pod/{pod}", "FailedMount: timed out waiting for volumes creds"),
            warn("ingress/{client}", "Upstream: no ready address for {svc}"),
        ),
        eval_only=True,
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
            "delete the old pod|remove the attachment|[detaching/force-detach/forced detach/force detach/unmount/"
            "detachment]|[delete/remove/clear/force/clean up/deleting/removing] … [VolumeAttachment/attachment/pod/"
            "detach/node/{node}]|[drain/cordon/recover/restart/fence/restore/reboot] … [{node}/node]|[detach/unbind/"
            "release/delete/remove/clear/force] & [VolumeAttachment/attachment/{node}/volume/it/node/pod]|force-detach",
            "删除 VolumeAttachment 将其从 {node} 卸载|卸载|分离|VolumeAttachment|强制删除|删除旧 Pod|[卸载/解除/分离/"
            "强制/删除/清理/移除]…[挂载/VolumeAttachment/附加/卷/存储卷/Pod/节点/{node}/绑定]|[恢复/重启/"
            "隔离]…[{node}/节点]|[解绑/强制卸载/强制分离]|[强制/删除/卸载/分离/解除/清理/释放] & [卷/VolumeAttachment/"
            "挂载/{node}/附加]",
        ),
        also=say(
            "[still/already] [attached/mounted/held/bound/in use/locked] [to/on/by/at] ~ {node}|{node} ~ still [holds/"
            "has/uses/keeps/holding]|[attached/mounted/bound/held] [to/on/by] {node}|not [detached/released] from "
            "{node}|{volume} ~ [still attached/still mounted/still in use/not detached/not released/already attached/"
            "stuck/locked/attached elsewhere/still held]|{node} ~ [not release/not detach/never released/never "
            "detached/did not release]|attached elsewhere",
            "[仍/还/依然/已/被]~{node}~[占用/持有]|[仍/还/已]~[挂载/附加/附着/绑定]~{node}|{node}~[仍/还]~[持有/占用/"
            "挂载/附加]|{volume}~[仍/未]~[挂载/附加/卸载/分离/释放/占用]|[未/没有]从~{node}~[卸载/分离]|"
            "{node}~未[释放/卸载]",
        ),
        may_mention=("node_failure",),
        clues=(
            warn("node/{node}", "NodeNotReady: kubelet silent for {minutes} min, held {volume}"),
            info("pod/{pod}", "Scheduled: assigned to {host}"),
            warn("pod/{pod}", "FailedAttachVolume: Multi-Attach for {volume}"),
        ),
        symptoms=(
            warn("pod/{pod}", "FailedMount: timed out waiting for {volume}"),
            warn("statefulset/{svc}", "Waiting: replica 0 not ready for {minutes} min"),
            warn("ingress/{client}", "Upstream: no ready address for {svc}"),
            warn("hpa/{svc}", "FailedGetMetrics: no metrics of {svc}"),
        ),
        eval_only=True,
    ),
)

BACKGROUND = (
    info("pod/{otherpod}", "Scheduled: assigned to {host}"),
    info("pod/{otherpod}", "Pulled: image present on machine, {few} layers"),
    info("pod/{otherpod}", "Created: container main"),
    info("pod/{otherpod}", "Started: container main"),
    info("deployment/{other}", "ScalingReplicaSet: scaled up to {few}"),
    info("job/cleanup-{job_no}", "Completed: job finished in {ms} ms"),
    info("cronjob/backup", "SuccessfulCreate: created job backup-{job_no}"),
    info("hpa/{other}", "SuccessfulRescale: new size {few}, cpu below target"),
    info("node/{host}", "NodeReady: kubelet posts ready status"),
    info("deployment/{other}", "ScalingReplicaSet: scaled down to {few}"),
    info("pvc/data-{n}", "ProvisioningSucceeded: bound to pv-{hex}"),
    info("cert/{other}", "Issued: renewed until {future_day}"),
)

HARMLESS = (
    Harmless(
        say(
            "the readiness probe during start-up|readiness|start-up|startup",
            "启动期间的就绪探针|就绪探针|启动期间|就绪检查|就绪",
        ),
        (
            warn("pod/{bystander_pod}", "Unhealthy: readiness GET :8080/ready 503 during start-up"),
            info("pod/{bystander_pod}", "Ready: passed at attempt 2"),
        ),
    ),
    Harmless(
        say(
            "the eviction by the rebalancer|eviction|evicted|rebalancer|descheduler|drain",
            "再平衡引起的驱逐|驱逐|再平衡|排空",
        ),
        (
            warn("pod/{otherpod}", "Evicted: by descheduler to balance {host}"),
            info("pod/{otherpod}", "Started: replacement runs on {peer}, {n} s"),
        ),
    ),
    Harmless(
        say(
            "the name conflict of a finished job|AlreadyExists|already exists|name conflict|job name",
            "已完成任务的重名|AlreadyExists|重名|已存在",
        ),
        (
            warn("cronjob/report", "AlreadyExists: job report-{job_no} was run, skipped"),
            warn("cronjob/report", "AlreadyExists: job report-{job_no} was run, skipped"),
        ),
    ),
    Harmless(
        say("the deprecated API version|deprecated|deprecation|v1beta1", "弃用的 API 版本|弃用|v1beta1"),
        (
            warn("ingress/{other}", "Deprecated: v1beta1 served until release 1.35"),
            warn("hpa/{other}", "Deprecated: v2beta2 served until release 1.36"),
        ),
    ),
)

RED_HERRINGS = (
    RedHerring(
        "node_failure",
        (
            warn("node/spot-{spot}", "NodeNotReady: kubelet stopped posting status"),
            warn("node/spot-{spot2}", "NodeNotReady: kubelet stopped posting status"),
            warn("pod/batch-{hex}", "NodeLost: machine spot-{spot} gone"),
            warn("node/spot-{spot2}", "Shutdown: machine reclaimed"),
            info("job/batch-{part}", "Completed: spot machines were returned as planned, all {n} tasks done"),
        ),
    ),
    RedHerring(
        "bad_release",
        (
            warn("pod/lab-{ref}", "BackOff: restarting container demo, count 3"),
            warn("pod/lab-{ref}", "Error: container demo, exit code 1"),
            warn("pod/lab-{ref}", "BackOff: restarting container demo, count 4"),
            warn("pod/lab-{ref}", "Error: container demo, exit code 1"),
            info("namespace/lab", "Deleted: sandbox {ref} of user {user} closed, nothing depends on it"),
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
