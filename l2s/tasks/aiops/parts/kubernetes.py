"""Faulty parts of a cluster, and their states."""

from __future__ import annotations

from l2s.tasks.aiops.parts.vocabulary import parts
from l2s.tasks.aiops.records import Phrases

PARTS: dict[str, Phrases] = {
    "image_missing": parts(
        "[image/images/tag/image tag/image version/version/{version}/{svc}:{version}] & [missing/not in the registry/"
        "not in registry/nonexistent/non-existent/does not exist/doesn't exist/not found/never published/never pushed/"
        "not pushed/unpublished/absent/wrong/invalid/not published/no such/can't be found/cannot be found/typo/not "
        "built/never built/unavailable/not available/never released/unknown to]",
        "[镜像/标签/tag/版本/{version}/镜像版本/镜像标签] & [不存在/没有的/没有这个/未推送/没推/没有推送/未发布/"
        "没发布/找不到/缺失/写错/错误/无效/未构建/拉不到/仓库里没有/仓库没有/仓库中没有]",
    ),
    "memory_limit": parts(
        "[memory/RAM/memory use/memory usage/container memory] & [exceeds/exceeded/exceeding/outgrew/outgrown/"
        "outgrows/too small/too low/exhausted/ran out/used up/grants/granted/more than allowed/maxed out/at its limit/"
        "at the limit/hit its/hit the/reached its/reached the/at its ceiling/over its/over the/beyond]|[OOMKilled/"
        "OOM-killed/OOM killed/OOM kill]|container … OOM|OOM",
        "[内存/memory/内存用量/内存占用] & [超限/触顶/超出/不足/超过/超标/到顶/顶满/耗尽/打满/达到上限/达到限制/"
        "到上限/碰到上限]|内存 & 达到…[上限/限制/限额/limit]|[容器/Pod] & [触顶/OOMKill/OOMKilled/OOM]|OOM",
    ),
    "cluster_capacity": parts(
        "[node/nodes/cluster/CPU/CPU capacity/capacity/compute/resources/node group/CPU resources] & [insufficient/"
        "not enough/no room/no capacity/too little/out of/ran out/exhausted/lack/lacks/lacking/shortage/short of/no "
        "free/cannot fit/can't fit/does not fit/doesn't fit/more CPU than/more than any/too large/too big/nowhere/"
        "full/no spare/none has/no node/no nodes/has room/scarce/saturated/too small]|[scheduler/pod/pods] & [nowhere/"
        "no room/no node/does not fit/doesn't fit/can't fit/cannot fit]|[no node/no nodes/none of the nodes] … [room/"
        "CPU/capacity/fit/fits/enough/free/satisfy/satisfies]",
        "[节点/集群/CPU/资源/容量/算力/节点组] & [不足/不够/放不下/装不下/耗尽/紧张/没有空闲/没有足够/不满足/无法满足/"
        "短缺/匮乏/满了/没有余量/调度不上]|[没有/无]~[任何节点/节点]…[满足/容纳/放得下/可用/空闲/够]|[CPU/资源/请求] "
        "& 无法调度",
    ),
    "probe_wrong": parts(
        "[probe/liveness/liveness probe/liveness check/livenessProbe/health check/health probe] & <wrong>|[probe/"
        "liveness/liveness probe/liveness check/livenessProbe/health check] & [another port/different port/other port/"
        "wrong port/nobody listens/nothing listens/not listening/closed port/unused port/instead of]|[probe/probes/"
        "liveness/liveness check/health check] & [asks/asking/knocks/targets/targeting/hits/dials/aims/calls/queries/"
        "checks/points/probes] & {port}|{port} & {port2} & [probe/probes/liveness/check/checks]",
        "[探针/存活探针/存活检查/健康检查/liveness/探活/livenessProbe/存活探测] & <wrong>|[探针/存活探针/存活检查/"
        "健康检查/liveness/探活/存活探测] & [打到/打错/没人监听/无人监听/错端口]|[探针/存活探针/存活检查/健康检查/"
        "探活/存活探测] & {port}|探针 & {port2}",
    ),
    "secret_missing": parts(
        "[secret/secrets/Secret/credentials/credential object/secret object/secret reference] & <missing>|{secret} & "
        "<missing>|[secret/secrets] … not found|absent secret",
        "[Secret/密钥/密钥对象/凭据/secret] & <missing>|{secret} & <missing>",
    ),
    "volume_attached_elsewhere": parts(
        "[volume/{volume}/disk/PV/PVC/persistent volume/attachment/VolumeAttachment/node/{node}] & [still attached/"
        "still bound/still mounted/still held/still holds/still claimed/still owned/still owns/still has/still keeps/"
        "still uses/still using/still in use/still locked/not released/never released/not detached/never detached/"
        "without releasing/without letting/without detaching/letting it go/let go/attached elsewhere/held by/in use "
        "by/locked by/stale/dangling/orphaned/already attached/double attach/stuck on/stuck to/stuck attached/"
        "attached to the]",
        "[卷/存储卷/{volume}/PV/PVC/磁盘/持久卷] & [仍被/还被/仍挂/还挂/仍在/还在/没有释放/未释放/没释放/未卸载/"
        "没卸载/没有卸载/没有分离/未分离/仍绑定/还绑定/占用/占着/残留/重复挂载/被锁/未解绑]|{node}…[没有释放/未释放/"
        "没释放/未卸载/仍占用/还占着]",
    ),
}
