"""Causes of trouble at web servers."""

from l2s.tasks.aiops.records import Phrases, say

CAUSES: dict[str, Phrases] = {
    "upstream_down": say(
        "the upstream process is down|upstream process is down|upstream is down|upstream server is down|upstream "
        "crashed|backend is down|backend crashed|backend process crashed|backend not running|upstream not running|"
        "application server is down|[upstream/backend/application server/app server/application] ~ [down/crashed/"
        "stopped/dead/offline/not running/has died/not up/not listening/terminated]|[upstream/backend/application "
        "server/upstream service/backend service] [crash/outage]|[dead/stopped/crashed/offline] [upstream/backend/"
        "application server/upstream server/backend server/upstream service/backend service]",
        "上游进程已停止|上游服务宕机|上游宕机|上游崩溃|后端宕机|后端服务宕机|后端崩溃|后端未运行|[上游/后端/上游服务/"
        "后端服务/上游进程/后端进程/应用服务/应用服务器/后端应用]~[宕机/崩溃/停止/未运行/挂了/挂掉/停机/离线/下线/"
        "未启动/停止运行/没有运行/退出/宕掉/已停]",
    ),
    "upstream_slow": say(
        "the upstream is too slow|upstream is too slow|slow upstream|slow backend|backend is too slow|backend is "
        "slow|upstream is slow|upstream latency|backend latency|overloaded upstream|overloaded backend|slow endpoint|"
        "[upstream/backend/application server/application] ~ [slow/too slow/overloaded/slow to respond/slow in "
        "responding/responding slowly/responding too slowly]|[upstream/backend/upstream service/backend service/"
        "application] [responds/answers/replies] [slowly/too slowly/too late]|[slow/overloaded/sluggish] [upstream/"
        "backend/upstream service/backend service/application/upstream server/application server]|high [upstream/"
        "backend] latency|slow [upstream/backend] [response/responses]|[upstream/backend] [slowness/performance "
        "problem/overload]",
        "上游响应过慢|上游响应慢|上游过慢|后端响应慢|后端响应过慢|后端过慢|上游过载|后端过载|[上游/后端/上游服务/"
        "后端服务/上游应用/应用服务]~[过慢/缓慢/太慢/很慢/变慢/过载/超载/慢]|[上游/后端/上游服务/后端服务]~[响应/"
        "处理/返回][过慢/缓慢/太慢/很慢/慢]|[上游/后端]~延迟过高|慢[上游/后端]",
    ),
    "body_limit": say(
        "the request body size limit is too small|request body size limit|body size limit|request size limit|upload "
        "size limit|upload limit|client_max_body_size|body limit|[request body/request/upload/body/file/request "
        "entity/payload/client body] size ~ [limit/limited/limits/restriction/cap/exceeded/too low/too small]|[limit/"
        "limits/restriction/cap] [on/for] [the size of request bodies/body size/the body size/upload size/the upload "
        "size/request size/the request size/file size/request body size/the request body size/request bodies/uploads/"
        "the request body]|[maximum/max/allowed/maximum allowed/permitted] [body/upload/request/request body/file/"
        "client body/payload] size|[client_max_body_size/body limit/upload limit/request body limit/payload limit]|"
        "[request body/upload/body] ~ [exceeds/exceeded/above] ~ [limit/maximum/allowed size]",
        "请求体大小限制过小|请求体大小限制|请求体限制|上传大小限制|上传限制|client_max_body_size|[请求体/上传/文件/"
        "body/请求]~[限制/上限][过小/过低/太小]|[请求体/上传/上传文件/文件/请求/body][大小/体积][限制/上限/受限]|"
        "[请求体/上传/body]上限|[最大/允许的最大][请求体/上传/文件/body]|请求体~超过~[限制/上限]",
    ),
    "worker_limit": say(
        "the worker connection limit is reached|worker connection limit|worker connections limit|worker_connections "
        "limit|worker connections exhausted|worker_connections exhausted|out of worker connections|too few worker "
        "connections|connection limit of the worker|[worker connections/worker_connections/worker connection slots/"
        "worker slots] ~ [exhausted/full/reached/used up/too low/too small/insufficient/limit/at the limit]|worker "
        "connection [exhaustion/limits/shortage/cap]|[out of/insufficient/not enough/exhausted/no free/maximum/max] "
        "worker [connections/slots]|[limit of/limit on/maximum of] worker connections|[nginx/worker/workers/worker "
        "process/worker processes] ~ [out of connections/out of connection slots/out of slots/ran out of connections/"
        "at its connection limit/at the connection limit]|[ran/run/running/runs] out of worker [connections/slots]|"
        "nginx connection [limit/slots/exhaustion]|worker limit|[reached/hit/exceeded/exceeds] ~ [worker connection "
        "limit/worker_connections/worker connections]",
        "工作进程连接数达到上限|工作连接数上限|工作进程连接数耗尽|工作连接数耗尽|worker 连接数耗尽|worker 连接数上限|"
        "连接数上限过小|[工作进程连接/worker 连接/工作连接/worker_connections/nginx 连接/工作进程的连接/连接槽/"
        "连接槽位]~[耗尽/用尽/用完/占满/上限/已满/不足/过小/过低/达到限制]|[达到/超过]~[worker_connections/"
        "工作进程连接数/worker 连接数]",
    ),
    "traffic_flood": say(
        "a traffic flood|traffic flood|HTTP flood|request flood|denial of service|denial-of-service|DoS attack|DDoS|"
        "aggressive crawler|aggressive scraper|scraper|crawler flood|bot traffic|abusive client|[flood/surge/spike/"
        "burst/wave] of [traffic/requests/HTTP requests]|[traffic/request] [flood/surge/spike/burst]|[abusive/"
        "malicious/aggressive/hostile] [client/crawler/bot/scraper/traffic/IP/requests/address/crawling/scraping]|"
        "[excessive/abnormal] traffic|[DoS/DDoS/HTTP flooding/layer 7 attack/web scraping/crawler/bot attack/"
        "scraping/request flooding/flood attack/flooding attack/web crawler]|[HTTP/web/traffic/network] attack",
        "流量攻击|拒绝服务攻击|DDoS|CC 攻击|恶意爬虫|爬虫流量|请求洪水|刷流量|[流量/请求/HTTP]~[洪水/洪泛/泛洪/激增/"
        "突增/暴增/轰炸]|[洪水攻击/DoS 攻击/DoS/CC攻击/DDoS 攻击/爬虫/流量过大/网络攻击/恶意攻击/异常流量]|恶意[请求/"
        "流量/访问/客户端/刷量]",
    ),
}
