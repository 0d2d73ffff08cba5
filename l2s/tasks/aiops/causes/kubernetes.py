"""Causes of trouble in Kubernetes."""

from l2s.tasks.aiops.records import Phrases, say

CAUSES: dict[str, Phrases] = {
    "image_missing": say(
        "the image tag does not exist|image tag does not exist|image does not exist|nonexistent image tag|"
        "nonexistent image|missing image tag|missing image|wrong image tag|bad image tag|invalid image tag|incorrect "
        "image tag|image tag is wrong|[image/tag/image version] ~ [missing/not found/nonexistent/non-existent/"
        "unavailable/wrong/invalid/incorrect/does not exist/doesn't exist/do not exist/not exist/not available/not "
        "pushed/never pushed/not published/never published/not in the registry/unknown/absent]|[missing/wrong/bad/"
        "invalid/incorrect/nonexistent/non-existent/unknown/unpublished] [image/tag/image tag/image version/"
        "container image]|no such [image/tag]|typo in ~ [tag/image tag/image name]",
        "镜像标签不存在|镜像不存在|镜像标签错误|镜像 tag 错误|镜像tag不存在|错误的镜像标签|[镜像/标签/镜像标签/"
        "镜像版本/镜像 tag/tag/该镜像/镜像名]~[不存在/缺失/错误/有误/未找到/找不到/未推送/未发布/不可用/没有推送]|"
        "[错误/不存在/无效/缺失/未发布]的[镜像/标签/镜像标签/镜像版本/镜像 tag]|[找不到/缺少/没有]镜像|无效镜像|"
        "无效标签",
    ),
    "memory_limit": say(
        "the container memory limit is too low|memory limit is too low|memory limit too low|low memory limit|"
        "container memory limit|exceeded its memory limit|exceeds its memory limit|hit its memory limit|OOMKilled|"
        "OOM killed|memory [limit/cap/ceiling/quota/limits] ~ [too low/too small/too tight/exceeded/reached/hit/"
        "insufficient/exhausted/undersized/breached/inadequate]|[exceeded/exceeds/exceeding/hit/hits/reached/"
        "reaching/over/above/at] ~ [memory limit/container memory limit/memory cap/container limit]|[container/pod] "
        "~ [out of memory/ran out of memory/OOM/OOM killed/OOMKilled/short of memory]|[OOMKill/OOM kill/OOM-kill/OOM "
        "killer/OOM-killer]|[low/insufficient/small/tight/inadequate/undersized] [memory limit/container memory/"
        "container memory limit]|memory limit [breach/violation]|too little memory",
        "容器内存限制过低|容器内存上限过低|内存限制过低|内存上限过低|超出内存限制|超过内存限制|内存超限|内存[限制/"
        "上限/限额/配额/limit]~[过低/过小/太低/太小/不足/偏低]|[容器/Pod]~内存[不足/耗尽/溢出/超限/用尽]|[超出/超过/"
        "达到/触及/突破]~内存[限制/上限/限额/配额]|内存~[超限/超出限制/超过限制/达到上限/达到限制/超出上限/超过上限]|"
        "[OOMKilled/OOM 杀死/OOM Kill]",
    ),
    "cluster_capacity": say(
        "the cluster lacks CPU capacity|lacks CPU capacity|insufficient CPU|insufficient cluster capacity|not enough "
        "CPU|lack of CPU|insufficient capacity|cluster capacity|CPU shortage|CPU request is too large|[insufficient/"
        "not enough/lack of/too little/lacks/short of/shortage of] [CPU/cluster capacity/node capacity/cluster "
        "resources/cluster CPU/free CPU/allocatable CPU]|[CPU/cluster CPU/cluster capacity/node capacity/CPU "
        "capacity/CPU resources/cluster resources] ~ [exhausted/insufficient/full/used up/depleted]|[cluster/nodes/"
        "node pool/node group] ~ [out of CPU/out of capacity/out of resources/full/too small/lacks capacity/lacks "
        "resources/lack capacity/over capacity/at capacity/short of CPU]|CPU [shortage/starvation/exhaustion]|CPU "
        "request ~ [too large/too high/too big/exceeds/larger than/higher than]|[requests/requested/requesting/"
        "requires/needs] more CPU|more CPU than|[no node/no nodes/none of the nodes] [has/have/with/offers/offer] "
        "enough [CPU/free CPU/capacity/resources]|[exceeds/exceeded/exceeding] ~ [capacity/free CPU/available CPU/"
        "allocatable CPU/node capacity/cluster capacity]|cluster resource [shortage/exhaustion]|[overcommitted/"
        "under-provisioned/underprovisioned/undersized] cluster",
        "集群 CPU 资源不足|集群资源不足|CPU 资源不足|CPU资源不足|CPU 不足|集群容量不足|资源不足|[CPU/CPU 资源/集群 "
        "CPU/集群 CPU 资源/节点 CPU/CPU 容量]~[不足/耗尽/不够/短缺/用尽/紧张]|CPU 请求~[过大/过高/超过/超出]|[集群/"
        "节点/集群节点]~[资源不足/容量不足/资源耗尽/CPU 不足/没有足够的 CPU/资源不够/资源紧张]|[没有/无]足够的 CPU|"
        "没有节点能满足|没有节点满足|无节点~满足|集群[资源/容量]~[不足/耗尽/不够]|可用 CPU 不足",
    ),
    "probe_wrong": say(
        "a misconfigured liveness probe|misconfigured liveness probe|liveness probe is misconfigured|misconfigured "
        "probe|probe misconfiguration|wrong liveness probe|wrong probe port|probe port is wrong|incorrect probe port|"
        "liveness probe uses the wrong port|probe checks the wrong port|[probe/probe port/health check/liveness "
        "check] ~ [misconfigured/wrong/incorrect/wrongly configured/incorrectly configured/configured wrongly/"
        "configured incorrectly/wrong port/incorrect port/mismatch/mismatched/port mismatch/at the wrong port/wrong "
        "path/not matching]|[misconfigured/wrong/incorrect/bad/faulty] [liveness probe/probe/probe port/health check/"
        "health check port/liveness port/liveness check/liveness probe port]|[probe/health check/liveness check] … "
        "[wrong/incorrect/different] port|[probe/health check/liveness probe/liveness] [misconfiguration/"
        "configuration error/port error/port mismatch]|misconfiguration of ~ [probe/liveness probe/health check]",
        "存活探针配置错误|探针配置错误|探针端口错误|探针端口配置错误|存活探针端口错误|错误的探针端口|[探针/健康检查/"
        "存活检查]~[配置错误/配置有误/端口错误/端口有误/端口不匹配/端口不一致/错误/有误/端口配置错误/端口不对/"
        "配置不当/端口不符/误配置/配错/端口与~不一致]|[错误/有误/不正确]的[存活探针/探针/探针端口/探针配置/健康检查/"
        "存活探针端口]|[存活探针/探针]…错误的端口|[存活探针/探针]…错误端口",
    ),
    "secret_missing": say(
        "a missing secret|missing secret|secret is missing|secret does not exist|nonexistent secret|absent secret|"
        "secret was not created|[secret/secret object] ~ [missing/absent/not found/nonexistent/non-existent/"
        "unavailable/does not exist/doesn't exist/not exist/not created/never created/deleted/not available/not "
        "present/cannot be found/could not be found]|[missing/absent/nonexistent/non-existent/deleted/unknown/"
        "lacking/lack of/lack of the/unavailable] [secret/Kubernetes secret/secret reference/credentials secret/k8s "
        "secret]|no such secret|references ~ [missing/nonexistent/non-existent] secret",
        "缺少 Secret|Secret 缺失|Secret 不存在|缺失的 Secret|密钥缺失|缺少密钥|密钥不存在|[Secret/密钥/secret 对象/"
        "凭据 Secret/凭据]~[缺失/不存在/未创建/未找到/找不到/丢失/被删除/没有创建]|[缺少/缺失/缺失的/没有/未创建/"
        "找不到/不存在的/缺乏/丢失的][Secret/密钥/凭据]|[缺少/缺失/没有/未创建/找不到]~Secret",
    ),
    "volume_attached_elsewhere": say(
        "the volume is still attached to another node|volume is still attached to another node|still attached to "
        "another node|attached to another node|attached to a different node|stale volume attachment|stuck volume "
        "attachment|volume attachment conflict|[still/already/remains/stays/currently/stuck] [attached/mounted/bound/"
        "held/in use/locked/claimed] … [node/host/machine]|[attached/mounted/bound] [to/on] [another/a different/the "
        "old/the lost/the failed/the previous/the dead/the unreachable/the original] [node/host]|[stale/stuck/"
        "orphaned/dangling/leftover/old] [volume attachment/attachment/VolumeAttachment/mount/volume mount]|[volume/"
        "attachment/disk/multi-attach/volume attachment] conflict|volume ~ [not detached/never detached/not released/"
        "never released/stuck attached/still attached/still mounted/still in use/already attached/attached elsewhere/"
        "in use elsewhere/not properly detached]|[cannot/could not/not] [be detached/be released/detached/released] "
        "from ~ [node/host/machine]",
        "存储卷仍挂载在另一节点|仍挂载在另一节点|仍挂载在其他节点|卷挂载冲突|残留的卷挂载|卷被其他节点占用|[仍/还/"
        "依然/已]…[挂载/附加/附着/绑定/挂接]…节点|[仍被/被]…节点…占用|[仍/还]…占用|[卷/存储卷/磁盘]~[未卸载/未分离/"
        "未释放/未从~节点卸载/没有卸载/没有分离/重复挂载/多重挂载/被占用]|[多重/重复]挂载|[残留/陈旧/遗留]的[挂载/"
        "卷挂载/VolumeAttachment/附加关系]|卷[附加/占用]冲突",
    ),
    "node_failure": say(
        "a node failure|node failure|node crash|node crashed|node is down|failed node|node outage",
        "节点故障|节点宕机|节点崩溃",
    ),
}
